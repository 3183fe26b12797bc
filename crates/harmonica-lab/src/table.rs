//! Tables of plain text, in columns that people can read down.
//!
//! In: a header and rows of cells; out: lines. Invariant: a table that was told its width keeps it as long as the columns that
//! may be cut allow it; what was cut shows a `…`.

/// On which side a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// What of a cell goes first where there is not enough room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing: it is shown whole.
    Never,
    /// The beginning, as of paths; at least so many characters stay.
    Beginning(usize),
    /// The end, as of names; at least so many characters stay.
    End(usize),
}

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    title: String,
    side: Side,
    cut: Cut,
}

impl Column {
    pub(crate) fn words(title: impl Into<String>) -> Self {
        Self { title: title.into(), side: Side::Left, cut: Cut::Never }
    }

    pub(crate) fn numbers(title: impl Into<String>) -> Self {
        Self { title: title.into(), side: Side::Right, cut: Cut::Never }
    }

    pub(crate) fn cut(self, cut: Cut) -> Self {
        Self { cut, ..self }
    }
}

const GAP: usize = 2;

fn length(text: &str) -> usize {
    text.chars().count()
}

fn shortened(text: &str, width: usize, cut: Cut) -> String {
    let n = length(text);
    if n <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    match cut {
        Cut::Beginning(_) => format!("…{}", text.chars().skip(n - kept).collect::<String>()),
        Cut::End(_) | Cut::Never => format!("{}…", text.chars().take(kept).collect::<String>()),
    }
}

/// Lines of a table, at most `max_width` characters each where the columns that may be cut allow it.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<String>], max_width: usize) -> Vec<String> {
    let cell = |row: &[String], i: usize| row.get(i).map_or(0, |text| length(text));
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| rows.iter().map(|row| cell(row, i)).fold(length(&column.title), usize::max))
        .collect();
    let room = max_width.saturating_sub(GAP * columns.len().saturating_sub(1));
    // The last ones give way first: the first column says what a row is about.
    for (i, column) in columns.iter().enumerate().rev() {
        let excess = widths.iter().sum::<usize>().saturating_sub(room);
        if let Cut::Beginning(least) | Cut::End(least) = column.cut {
            widths[i] = widths[i].saturating_sub(excess).max(least.min(widths[i]));
        }
    }
    let line = |texts: &mut dyn Iterator<Item = &str>| {
        let shown: Vec<String> = texts
            .zip(columns)
            .zip(&widths)
            .map(|((text, column), width)| {
                let text = shortened(text, *width, column.cut);
                match column.side {
                    Side::Left => format!("{text:<width$}"),
                    Side::Right => format!("{text:>width$}"),
                }
            })
            .collect();
        shown.join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    let header = line(&mut columns.iter().map(|column| column.title.as_str()));
    std::iter::once(header).chain(rows.iter().map(|row| line(&mut row.iter().map(String::as_str)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_keep_the_width() {
        let columns = [
            Column::words("path").cut(Cut::Beginning(6)),
            Column::words("name").cut(Cut::End(4)),
            Column::numbers("updates"),
        ];
        let rows = vec![
            vec!["runs/ä/long/ar".into(), "experiment".into(), "9".into()],
            vec!["b".into(), "x".into(), "10000".into()],
        ];
        let wide = lines(&columns, &rows, 100);
        assert_eq!(wide[0], "path            name        updates");
        assert_eq!(wide[1], "runs/ä/long/ar  experiment        9");
        let narrow = lines(&columns, &rows, 24);
        assert!(narrow.iter().all(|line| length(line) <= 24), "{narrow:?}");
        assert_eq!(narrow[1], "…/long/ar  exp…        9");
        assert_eq!(lines(&columns, &rows, 1)[2].trim_start(), "b       x       10000");
    }
}
