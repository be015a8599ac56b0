"""What crosses a boundary: requests, answers, messages, events and errors. Imports nothing else of ours."""
