"""What happened, as people watch it: one page, live, with every transaction's story and the proof of it."""
