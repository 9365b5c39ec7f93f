//! One plot as SVG: lines over a logarithmic scale. It has no background, and what is black takes the page's colour,
//! so that it can be read on a dark page, too.

use std::ops::Range;

use plotters::prelude::*;

/// Wide as a page, and high.
const SIZE: (u32, u32) = (900, 480);

/// One line.
pub struct Line {
    pub name: String,
    pub color: RGBColor,
    pub mark: Mark,
    pub points: Vec<(f64, f64)>,
}

/// What stands at each point, so that lines of like colours can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Circle,
    Triangle,
    Cross,
    /// Nothing, on a broken line: a limit rather than something measured.
    Limit,
}

impl Mark {
    /// Neighbours around the circle of colours have different ones.
    pub fn nth(at: usize) -> Mark {
        [Mark::Circle, Mark::Triangle, Mark::Cross][at % 3]
    }

    /// As it stands in the legend.
    pub fn sign(self) -> &'static str {
        match self {
            Mark::Circle => "●",
            Mark::Triangle => "▲",
            Mark::Cross => "✕",
            Mark::Limit => "┄",
        }
    }
}

/// A limit's colour.
pub const GREY: RGBColor = RGBColor(128, 128, 128);

/// What stands at the axes.
pub struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
    /// Where on the x axis a word stands, and which.
    pub ticks: &'a [(f64, String)],
    pub format_y: &'a dyn Fn(f64) -> String,
}

/// Colours that can be told from white and from black: `n` of them, around the circle, every other one darker. They have at
/// least three times the luminance of the dark page and a third of the white one's, as WCAG 2.1 wants it for graphics.
pub fn colors(n: usize) -> Vec<RGBColor> {
    let color = |at: usize| {
        let wanted = if at.is_multiple_of(2) { 0.16 } else { 0.27 };
        // Colours of one lightness have very different luminance: yellow has much and blue little.
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..20 {
            let middle = (low + high) / 2.0;
            let luminance = luminance(hue(at, n, middle));
            *(if luminance < wanted { &mut low } else { &mut high }) = middle;
        }
        hue(at, n, low)
    };
    (0..n).map(color).collect()
}

fn hue(at: usize, n: usize, lightness: f64) -> RGBColor {
    let (r, g, b) = HSLColor(at as f64 / n.max(1) as f64, 0.8, lightness).rgb();
    RGBColor(r, g, b)
}

/// Relative luminance, from 0 to 1 (WCAG 2.1).
fn luminance(RGBColor(r, g, b): RGBColor) -> f64 {
    let linear = |channel: u8| match f64::from(channel) / 255.0 {
        dark @ ..=0.04045 => dark / 12.92,
        light => ((light + 0.055) / 1.055).powf(2.4),
    };
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
}

/// Draws it, under a name for those who do not see it; `None` where there is nothing to draw.
pub fn svg(lines: &[Line], axes: &Axes<'_>, name: &str) -> Option<String> {
    let xs = range(axes.ticks.iter().map(|(at, _)| *at))?;
    let ys = range(lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y)))?;
    let mut text = String::new();
    draw(&mut text, lines, axes, xs, ys).ok()?;
    let wide = format!(r#"<svg width="{}" height="{}" "#, SIZE.0, SIZE.1);
    // It is made of words and numbers of ours, so nothing in it needs to be escaped.
    let named = format!(r#"<svg role="img" aria-label="{name}, as in the table below" "#);
    Some(text.replacen(&wide, &named, 1).replace("#000000", "currentColor"))
}

/// From below the smallest to above the largest.
fn range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    // A clock that stood still makes an infinite speed, for which no scale is long enough.
    let values = values.filter(|value| value.is_finite() && *value > 0.0);
    let (min, max) = values.fold((f64::INFINITY, 0_f64), |(min, max), value| (min.min(value), max.max(value)));
    (min <= max).then_some(min * 0.8..max * 1.25)
}

fn draw(
    text: &mut String,
    lines: &[Line],
    axes: &Axes<'_>,
    xs: Range<f64>,
    ys: Range<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    let low = ys.start;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(xs.log_scale(), ys.log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 15))
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&|_| String::new())
        .y_labels(8)
        .y_label_formatter(&|y| (axes.format_y)(*y))
        .draw()?;
    for line in lines {
        let points = || line.points.iter().copied().filter(|(_, y)| y.is_finite());
        let style = line.color.stroke_width(if line.mark == Mark::Limit { 1 } else { 2 });
        if line.mark == Mark::Limit {
            chart.draw_series(DashedLineSeries::new(points(), 6, 5, style))?;
            continue;
        }
        chart.draw_series(LineSeries::new(points(), style))?;
        if line.mark == Mark::Circle {
            chart.draw_series(points().map(|at| Circle::new(at, 3, line.color.filled())))?;
        } else if line.mark == Mark::Triangle {
            chart.draw_series(points().map(|at| TriangleMarker::new(at, 5, line.color.filled())))?;
        } else {
            chart.draw_series(points().map(|at| Cross::new(at, 4, style)))?;
        }
    }
    // The words below the axis: a logarithmic axis would choose round numbers of its own.
    let bottom = chart.plotting_area().get_y_axis_pixel_range().end;
    for (at, word) in axes.ticks {
        let (x, _) = chart.backend_coord(&(*at, low));
        let style = ("sans-serif", 15).into_font().color(&BLACK);
        area.draw_text(word, &style, (x - 4 * word.len() as i32, bottom + 6))?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_can_be_told_from_either_page() {
        // As in the page's style.
        let (white, dark) = (RGBColor(255, 255, 255), RGBColor(0x16, 0x18, 0x1d));
        let contrast = |one: f64, other: f64| (one.max(other) + 0.05) / (one.min(other) + 0.05);
        for n in [1, 2, 22, 25] {
            for color in colors(n).into_iter().chain([GREY]) {
                for page in [white, dark] {
                    assert!(contrast(luminance(color), luminance(page)) >= 3.0, "{color:?} of {n} on {page:?}");
                }
            }
        }
    }
}
