"""Whether a figure's labels can be read: none on another, none cut off."""

from unittest import mock

from matplotlib.text import Text


def drawn_labels(figure):
    """Every text that drawing the figure draws. Ticks beyond an axis' ends have texts too, which are not drawn."""
    drawn, original = {}, Text.draw

    def draw(self, renderer, *arguments, **options):
        if self.get_visible() and self.get_text().strip():
            drawn[id(self)] = self
        return original(self, renderer, *arguments, **options)

    with mock.patch.object(Text, "draw", draw):
        figure.canvas.draw()
    return list(drawn.values())


def inside(inner, outer, slack=1):
    return (outer.x0 - slack <= inner.x0 and inner.x1 <= outer.x1 + slack
            and outer.y0 - slack <= inner.y0 and inner.y1 <= outer.y1 + slack)


def overlap(a, b, slack=0.5):
    """Whether two boxes share more than their edges, in pixels."""
    return (min(a.x1, b.x1) - max(a.x0, b.x0) > slack) and (min(a.y1, b.y1) - max(a.y0, b.y0) > slack)


def label_faults(figure):
    """A sentence for each label that lies on another, beyond the figure, beyond its axes' frame, or under a legend."""
    labels = drawn_labels(figure)
    boxes = [label.get_window_extent() for label in labels]
    name = [label.get_text().replace("\n", " / ") for label in labels]
    faults = [f"label `{name[i]}` is beyond the figure" for i, box in enumerate(boxes) if not inside(box, figure.bbox)]
    faults += [f"labels `{name[i]}` and `{name[j]}` overlap"
               for i in range(len(boxes)) for j in range(i) if overlap(boxes[i], boxes[j])]
    for axes in figure.axes:
        frame, legend = axes.get_window_extent(), axes.get_legend()
        for label in axes.texts:
            box = label.get_window_extent()
            text = label.get_text().replace("\n", " / ")
            if not inside(box, frame):
                faults.append(f"label `{text}` is beyond the frame of its axes")
            if legend and overlap(box, legend.get_window_extent()):
                faults.append(f"label `{text}` is under the legend")
        if legend and not inside(legend.get_window_extent(), figure.bbox):
            faults.append("the legend is beyond the figure")
    return faults
