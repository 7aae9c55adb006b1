"""Many processes that train one model: who they are, how they meet, and how a model lies over them."""
