"""Whose calls cost what: billable operations in total and for each trace, counted by the servers and priced.

One document serves both servers, see ``report``; ``merge`` makes one of two.
"""
