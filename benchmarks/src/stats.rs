//! Medians, and how far the pairs lie apart.

use serde::{Deserialize, Serialize};

/// The ratios of the pairs of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The quartiles: half of the values lie between them. One run that was disturbed moves them little.
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let [lower, median, upper] = [1, 2, 3].map(|quarters| quantile(&values, quarters));
        Some(Spread { median, min, max, lower, upper })
    }

    /// Whether the pairs agree well enough for the median to say something: the middle half of them within a quarter of it.
    pub(crate) fn is_tight(&self) -> bool {
        self.lower >= 0.75 * self.median && self.upper <= 1.25 * self.median
    }
}

/// The value so many quarters up in sorted values, between two of them if need be.
fn quantile(sorted: &[f64], quarters: usize) -> f64 {
    let place = (sorted.len() - 1) * quarters;
    let (below, above) = (sorted[place / 4], sorted[place.div_ceil(4)]);
    #[allow(clippy::cast_precision_loss, reason = "at most three")]
    let part = (place % 4) as f64 / 4.0;
    below + (above - below) * part
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
        assert_eq!(spread([1.0, 3.0, 3.4]), Some(false), "the lower quartile is 2");
        assert_eq!(spread([2.9, 3.0, 5.0]), Some(false), "the upper quartile is 4");
        let disturbed = Spread::of([1.0, 2.9, 3.0, 3.1, 9.0]).unwrap();
        assert!(disturbed.is_tight());
        assert_eq!((disturbed.lower, disturbed.upper), (2.9, 3.1));
    }
}
