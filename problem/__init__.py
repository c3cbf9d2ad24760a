"""The ground floor: what is predicted, on which rows, and how a prediction is judged."""
