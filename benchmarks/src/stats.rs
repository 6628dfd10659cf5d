//! Medians, and how far the pairs lie apart.

use serde::{Deserialize, Serialize};

/// The ratios of the pairs of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Spread { median, min, max })
    }

    /// Whether the pairs agree well enough for the median to say something: all within a quarter of it.
    pub(crate) fn is_tight(&self) -> bool {
        self.min >= 0.75 * self.median && self.max <= 1.25 * self.median
    }
}

/// The median of what there is.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn pairs_far_apart_are_not_tight() {
        let spread = |values: [f64; 3]| Spread::of(values).map(|spread| spread.is_tight());
        assert_eq!(spread([2.9, 3.0, 3.4]), Some(true));
        assert_eq!(spread([2.0, 3.0, 3.9]), Some(false));
    }
}
