"""An agent that looks at products: any chat model that calls tools, beside caslie's five.

    pip install langchain 'caslie-tools[embedded]' and your model's LangChain package
    caslie index products.csv --store shop
    python examples/shopping_agent.py openai:YOUR-MODEL "Which bottle holds 750 ml?"

The model is named as ``init_chat_model`` wants it (``provider:model``); a self-hosted one will do as well.
"""

import sys

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model

from caslie_tools import Caslie

INSTRUCTIONS = (
    "You help shoppers. Look products up with the tools before you answer, name the product you mean, and say so when "
    "the catalogue does not answer the question."
)


def main(model: str, question: str) -> None:
    """Asks the agent one question and prints its answer."""
    with Caslie.open("shop") as caslie:
        agent = create_agent(init_chat_model(model), tools=caslie.tools(), system_prompt=INSTRUCTIONS)
        state = agent.invoke({"messages": [("user", question)]})
        print(state["messages"][-1].text)


if __name__ == "__main__":
    main(*sys.argv[1:3])
