//! Shows what changed between two texts, line by line.

use super::output::{DIM, GREEN, RED, one_line, paint};
use crate::limits;

/// Unchanged lines shown around a change.
const AROUND: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The changed lines with a few around them: `-` of `old`, `+` of `new`. Empty when nothing changed.
pub(crate) fn lines(old: &str, new: &str) -> Vec<String> {
    let lines = compare(old, new);
    let changed = |line: &Line<'_>| !matches!(line, Line::Same(_));
    let mut shown = Vec::new();
    let mut left_out = false;
    for (at, line) in lines.iter().enumerate() {
        let near = &lines[at.saturating_sub(AROUND)..(at + AROUND + 1).min(lines.len())];
        if !near.iter().any(changed) {
            left_out = true;
            continue;
        }
        if left_out && !shown.is_empty() {
            shown.push(paint(DIM, "  …"));
        }
        left_out = false;
        shown.push(match line {
            Line::Same(text) => format!("  {}", one_line(text)),
            Line::Gone(text) => paint(RED, format_args!("- {}", one_line(text))),
            Line::New(text) => paint(GREEN, format_args!("+ {}", one_line(text))),
        });
    }
    shown
}

fn compare<'a>(old: &'a str, new: &'a str) -> Vec<Line<'a>> {
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let equal = |(one, other): &(&&str, &&str)| one == other;
    let before = old.iter().zip(&new).take_while(equal).count();
    let (old_rest, new_rest) = (&old[before..], &new[before..]);
    let ends = old_rest.iter().rev().zip(new_rest.iter().rev());
    let after = ends.take_while(equal).count();
    let (old_rest, tail) = old_rest.split_at(old_rest.len() - after);
    let new_rest = &new_rest[..new_rest.len() - after];
    let mut lines: Vec<Line<'a>> = old[..before].iter().map(|text| Line::Same(text)).collect();
    between(old_rest, new_rest, &mut lines);
    lines.extend(tail.iter().map(|text| Line::Same(text)));
    lines
}

/// By the longest common subsequence.
fn between<'a>(old: &[&'a str], new: &[&'a str], lines: &mut Vec<Line<'a>>) {
    let width = new.len() + 1;
    let cells = (old.len() + 1) * width;
    let small = cells <= limits::DIFF_CELLS && old.len().min(new.len()) < usize::from(u16::MAX);
    if !small {
        lines.extend(old.iter().map(|text| Line::Gone(text)));
        lines.extend(new.iter().map(|text| Line::New(text)));
        return;
    }
    // Of each pair of rests, how many lines they have in common at most.
    let mut common = vec![0_u16; cells];
    for (at, text) in old.iter().enumerate().rev() {
        for (other, new_text) in new.iter().enumerate().rev() {
            common[at * width + other] = if text == new_text {
                common[(at + 1) * width + other + 1] + 1
            } else {
                common[(at + 1) * width + other].max(common[at * width + other + 1])
            };
        }
    }
    let (mut at, mut other) = (0, 0);
    while at < old.len() || other < new.len() {
        if at < old.len() && other < new.len() && old[at] == new[other] {
            lines.push(Line::Same(old[at]));
            (at, other) = (at + 1, other + 1);
        } else if at < old.len()
            && (other == new.len()
                || common[(at + 1) * width + other] >= common[at * width + other + 1])
        {
            lines.push(Line::Gone(old[at]));
            at += 1;
        } else {
            lines.push(Line::New(new[other]));
            other += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: &[&str], new: &[&str], expected: &[&str]) {
        let shown = lines(&old.join("\n"), &new.join("\n"));
        let plain: Vec<String> = shown
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string())
            .collect();
        assert_eq!(plain, expected);
    }

    #[test]
    fn changed_lines_stand_between_the_lines_around_them() {
        check(&["a", "b", "c"], &["a", "b", "c"], &[]);
        check(
            &["a", "b", "c"],
            &["a", "x", "c"],
            &["  a", "- b", "+ x", "  c"],
        );
        check(&[], &["a"], &["+ a"]);
        check(&["a", "b"], &["b"], &["- a", "  b"]);
        check(
            &["b", "d"],
            &["a", "b", "c", "d"],
            &["+ a", "  b", "+ c", "  d"],
        );
    }

    #[test]
    fn lines_far_from_a_change_are_left_out() {
        let old = ["x", "1", "2", "3", "4", "5", "6", "7", "8", "y", "9"];
        let new = ["X", "1", "2", "3", "4", "5", "6", "7", "8", "Y", "9"];
        let expected = [
            "- x", "+ X", "  1", "  2", "  3", "  …", "  6", "  7", "  8", "- y", "+ Y", "  9",
        ];
        check(&old, &new, &expected);
    }

    #[test]
    fn any_two_texts_can_be_made_of_what_is_shown() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..500 {
            let mut text = || {
                let count = random.usize(..8);
                let lines = (0..count).map(|_| ["a", "b", "c"][random.usize(..3)]);
                lines.collect::<Vec<_>>().join("\n")
            };
            let (old, new) = (text(), text());
            let shown = compare(&old, &new);
            let side = |gone: bool| -> Vec<&str> {
                let kept = shown.iter().filter_map(|line| match line {
                    Line::Same(text) => Some(*text),
                    Line::Gone(text) => gone.then_some(*text),
                    Line::New(text) => (!gone).then_some(*text),
                });
                kept.collect()
            };
            assert_eq!(side(true), old.lines().collect::<Vec<_>>());
            assert_eq!(side(false), new.lines().collect::<Vec<_>>());
        }
    }
}
