//! The screen: text as wide as the terminal, figures of parent and child in two columns, verdicts.

use common::Result;
use console::{Style, Term, pad_str, truncate_str};
use textwrap::Options;

/// Columns where standard output is not a terminal.
const WIDTH: usize = 80;
/// A line longer than this is hard to read, however wide the terminal is.
const WIDEST: usize = 100;
/// Columns of what stands in front of the figures.
const LABEL: usize = 32;

/// Where a step shows what it finds.
pub struct Show {
    width: usize,
    held: u32,
    broken: u32,
    missing: u32,
}

impl Show {
    /// As wide as the terminal; plain where there is none.
    pub fn new() -> Show {
        let columns = Term::stdout().size_checked().map_or(WIDTH, |(_, columns)| columns.into());
        Show { width: columns.min(WIDEST), held: 0, broken: 0, missing: 0 }
    }

    /// Columns in a line.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The headline of a step.
    pub fn title(&mut self, text: &str) -> Result<()> {
        self.styled(&Style::new().bold(), "", text)?;
        self.line("")
    }

    /// What the step is about.
    pub fn explain(&mut self, text: &str) -> Result<()> {
        self.styled(&Style::new(), "", text)?;
        self.line("")
    }

    /// A finding, in as many lines as it takes.
    pub fn item(&mut self, text: &str) -> Result<()> {
        self.styled(&Style::new(), "  ", text)
    }

    /// One line as it is; what does not fit is cut off.
    pub fn line(&mut self, text: &str) -> Result<()> {
        common::print(&format!("{}\n", truncate_str(text.trim_end(), self.width, "…")))
    }

    /// Figures of the parent and the child.
    pub fn pair(&mut self, label: &str, parent: &str, child: &str) -> Result<()> {
        let column = self.width.saturating_sub(LABEL) / 2;
        let cell = |text: &str, width| pad_str(text, width, console::Alignment::Left, Some("…")).into_owned();
        let line = format!("  {}{}{child}", cell(label, LABEL - 2), cell(parent, column));
        self.line(&line)
    }

    /// A verdict: did what the lesson claims come true?
    pub fn expect(&mut self, came: bool, claim: &str) -> Result<()> {
        if came {
            self.held += 1;
            self.styled(&Style::new().green(), "as expected: ", claim)
        } else {
            self.broken += 1;
            self.styled(&Style::new().red().bold(), "NOT AS EXPECTED: ", claim)
        }
    }

    /// What this machine or this user's rights keep from being shown, and why.
    pub fn missing(&mut self, what: &str) -> Result<()> {
        self.missing += 1;
        self.styled(&Style::new().yellow(), "not shown: ", what)
    }

    /// The end. Returns how often the machine contradicted the lesson.
    pub fn summary(&mut self) -> Result<u32> {
        let Show { held, broken, missing, .. } = *self;
        let missing = if missing == 0 { String::new() } else { format!(", {missing} not shown") };
        let style = if broken == 0 { Style::new().bold() } else { Style::new().red().bold() };
        self.styled(&style, "", &format!("{held} as expected, {broken} not as expected{missing}"))?;
        Ok(broken)
    }

    fn styled(&mut self, style: &Style, head: &str, text: &str) -> Result<()> {
        let indent = " ".repeat(head.len().min(self.width / 2));
        let options = Options::new(self.width.max(1)).subsequent_indent(&indent);
        for line in textwrap::wrap(&format!("{head}{text}"), options) {
            common::print(&format!("{}\n", style.apply_to(line)))?;
        }
        Ok(())
    }
}
