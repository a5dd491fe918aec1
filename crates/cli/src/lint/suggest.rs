//! What somebody meant who wrote a name wrong.

/// The known name that is so like `written` that it may be meant: the same in another case, or a few letters away.
pub(super) fn suggestion<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let letters = written.chars().count().max(1);
    let distances = known.map(|name| (distance(&lower, &name.to_lowercase()), name));
    // A third of the letters wrong is a typing error; more is another word.
    let (distance, name) = distances.min()?;
    (distance <= letters.div_ceil(3).min(3)).then_some(name)
}

/// Letters to insert, leave out, replace or swap with their neighbour to make one text of the other (optimal string
/// alignment).
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    // The rows for the last two letters of `left`.
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, letter) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, other) in right.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&row, j) + usize::from(letter != other);
            let mut least = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped =
                i > 0 && j > 0 && left.get(i - 1) == Some(other) && right.get(j - 1) == Some(letter);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_lead_to_the_name_and_other_words_to_none() {
        let known = ["steps", "stableService", "canaryService", "analysis", "setWeight", "pause"];
        for (written, meant) in [
            ("stepz", Some("steps")),
            ("step", Some("steps")),
            ("setweight", Some("setWeight")),
            ("setWieght", Some("setWeight")),
            ("canaryservice", Some("canaryService")),
            ("anlaysis", Some("analysis")),
            ("strategy", None),
            ("x", None),
        ] {
            assert_eq!(suggestion(written, known.into_iter()), meant, "{written}");
        }
    }
}
