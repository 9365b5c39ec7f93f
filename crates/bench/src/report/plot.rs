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
    /// A limit rather than something measured.
    pub faint: bool,
    pub points: Vec<(f64, f64)>,
}

/// What stands at the axes.
pub struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
    /// Where on the x axis a word stands, and which.
    pub ticks: &'a [(f64, String)],
    pub format_y: &'a dyn Fn(f64) -> String,
}

/// Colours that can be told from white and from black: `n` of them, around the circle, every other one darker.
pub fn colors(n: usize) -> Vec<RGBColor> {
    let color = |at: usize| {
        let lightness = if at.is_multiple_of(2) { 0.48 } else { 0.62 };
        let (r, g, b) = HSLColor(at as f64 / n.max(1) as f64, 0.7, lightness).rgb();
        RGBColor(r, g, b)
    };
    (0..n).map(color).collect()
}

/// Draws it; `None` where there is nothing to draw.
pub fn svg(lines: &[Line], axes: &Axes<'_>) -> Option<String> {
    let xs = range(axes.ticks.iter().map(|(at, _)| *at))?;
    let ys = range(lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y)))?;
    let mut text = String::new();
    draw(&mut text, lines, axes, xs, ys).ok()?;
    let wide = format!(r#"<svg width="{}" height="{}" "#, SIZE.0, SIZE.1);
    Some(text.replacen(&wide, "<svg role=\"img\" ", 1).replace("#000000", "currentColor"))
}

/// From below the smallest to above the largest.
fn range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let (min, max) = values.fold((f64::INFINITY, 0_f64), |(min, max), value| (min.min(value), max.max(value)));
    (min <= max && min > 0.0).then_some(min * 0.8..max * 1.25)
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
        let style = line.color.mix(if line.faint { 0.6 } else { 1.0 }).stroke_width(if line.faint { 1 } else { 2 });
        if line.faint {
            chart.draw_series(DashedLineSeries::new(line.points.clone(), 6, 5, style))?;
        } else {
            chart.draw_series(LineSeries::new(line.points.clone(), style))?;
            let dots = line.points.iter().map(|&at| Circle::new(at, 3, line.color.filled()));
            chart.draw_series(dots)?;
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
