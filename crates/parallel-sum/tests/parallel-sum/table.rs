//! What the program prints.

pub const TOTAL: &str = "50005000";

/// The rows of the table: worker, process, from, to, sum.
pub fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|words| words.len() == 6 && words[0].parse::<u32>().is_ok()).collect()
}

pub fn total(text: &str) -> Option<&str> {
    let mut totals = text.lines().filter_map(|line| line.trim_start().strip_prefix("total "));
    let total = totals.next()?.split_whitespace().next();
    // Once, whatever was in the buffers when the workers were forked.
    if totals.next().is_some() { None } else { total }
}

/// The row of a technique in a table: the total, the verdict, and what is behind it.
pub fn row<'a>(table: &'a str, name: &str) -> Option<(&'a str, &'a str, String)> {
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let words = rows.find(|words| words.len() > 4 && words[0] == name)?;
    Some((words[1], words[3], words[4..].join(" ")))
}
