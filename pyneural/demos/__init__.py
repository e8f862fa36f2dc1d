"""Demos: `pyneural list` names them, `pyneural demo NAME` runs one."""
