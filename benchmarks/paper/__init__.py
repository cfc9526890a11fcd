"""The tables of Carlini, Katz, Barrett and Dill (2018), made again, beside what they published."""
