"""Answering open questions without a language model.

``understanding`` says what is asked, with the tables in ``languages``, ``attributes``, ``comparisons`` and ``claims``.
``facts`` collects what is stated of each product. ``attribute_answers``, ``claim_answers`` and ``selection`` choose the
facts that answer, or none. :mod:`caslie_tools.backends.embedded.question_answering` joins them and phrases the answer.
"""
