"""One address for every server: requests in OpenAI's words go on to the server that has most room for them."""
