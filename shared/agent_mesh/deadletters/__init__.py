"""Dead letters: messages that could not be processed, kept where people can see them and send them again."""
