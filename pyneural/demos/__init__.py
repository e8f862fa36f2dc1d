"""One short demo a system of the course: `pyneural list` names them, `pyneural demo NAME` runs."""
