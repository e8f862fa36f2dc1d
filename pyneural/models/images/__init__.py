"""Image to image: networks that take noise and blur away, or make pixels smaller."""
