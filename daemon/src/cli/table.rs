//! Aligned tables for people.

/// A table as text: columns as wide as their widest cell, two spaces between them.
pub fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let start = text.len();
        for (cell, width) in cells.zip(&widths) {
            // Names come from others: nothing of theirs reaches the terminal but printable characters.
            let shown: String = cell
                .chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect();
            text.push_str(&format!("{shown:<width$}  "));
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_foreign_control_characters_do_not_reach_the_terminal() {
        let rows = vec![
            vec!["a".to_owned(), "long cell".to_owned()],
            vec!["bbbb\x1b[2J".to_owned(), "x".to_owned()],
        ];
        let text = render(&["ONE", "TWO"], &rows);
        assert_eq!(text, "ONE       TWO\na         long cell\nbbbb?[2J  x\n");
    }
}
