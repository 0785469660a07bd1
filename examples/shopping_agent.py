"""A shopping agent: a chat model that calls the tools of caslie-tools.

    pip install 'caslie-tools[agents,embedded]'  # and the LangChain package of your model provider
    caslie index products.csv --store shop
    python examples/shopping_agent.py openai:YOUR-MODEL "Which bottle holds 750 ml?"

Name the model as in ``init_chat_model`` (``provider:model``). Self-hosted models work too, if they can call tools.
"""

import sys

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model

from caslie_tools import Caslie

INSTRUCTIONS = (
    "You help shoppers. Look up products with the tools before you answer. Name the product in your answer. If the "
    "catalogue does not answer the question, say so."
)


def main(model: str, question: str) -> None:
    """Asks the agent a question and prints its answer."""
    with Caslie.open("shop") as caslie:
        agent = create_agent(init_chat_model(model), tools=caslie.tools(), system_prompt=INSTRUCTIONS)
        state = agent.invoke({"messages": [{"role": "user", "content": question}]})
        print(state["messages"][-1].text)


if __name__ == "__main__":
    main(*sys.argv[1:3])
