//! Two ordered scans as one, where the upper one hides what it has changed or deleted in the lower one.

use std::iter::Peekable;

use crate::error::StoreError;
use crate::key_range::Direction;

/// Merges `upper`, whose `None` means deleted, over `lower`. Both are ordered by key in the given direction.
pub(crate) struct MergedScan<Upper: Iterator, Lower: Iterator> {
    upper: Peekable<Upper>,
    lower: Peekable<Lower>,
    direction: Direction,
}

/// Which side has the next key.
enum Next {
    Upper,
    Lower,
    Both,
}

impl<T, Upper, Lower> MergedScan<Upper, Lower>
where
    Upper: Iterator<Item = (Vec<u8>, Option<T>)>,
    Lower: Iterator<Item = Result<(Vec<u8>, T), StoreError>>,
{
    pub(crate) fn new(upper: Upper, lower: Lower, direction: Direction) -> Self {
        Self { upper: upper.peekable(), lower: lower.peekable(), direction }
    }

    fn next_side(&mut self) -> Option<Next> {
        let upper = self.upper.peek().map(|(key, _)| key);
        // An error is handed out at once, before anything else.
        let lower = match self.lower.peek() {
            Some(Ok((key, _))) => Some(key),
            Some(Err(_)) => return Some(Next::Lower),
            None => None,
        };
        let order = match (upper, lower) {
            (None, None) => return None,
            (Some(_), None) => return Some(Next::Upper),
            (None, Some(_)) => return Some(Next::Lower),
            (Some(upper), Some(lower)) => self.direction.order(upper, lower),
        };
        Some(match order {
            std::cmp::Ordering::Less => Next::Upper,
            std::cmp::Ordering::Greater => Next::Lower,
            std::cmp::Ordering::Equal => Next::Both,
        })
    }
}

impl<T, Upper, Lower> Iterator for MergedScan<Upper, Lower>
where
    Upper: Iterator<Item = (Vec<u8>, Option<T>)>,
    Lower: Iterator<Item = Result<(Vec<u8>, T), StoreError>>,
{
    type Item = Result<(Vec<u8>, T), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let side = self.next_side()?;
            if let Next::Lower = side {
                return self.lower.next();
            }
            if let Next::Both = side {
                self.lower.next();
            }
            if let (key, Some(value)) = self.upper.next()? {
                return Some(Ok((key, value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(
        upper: &[(&str, Option<i32>)],
        lower: &[(&str, i32)],
        direction: Direction,
    ) -> Vec<(String, i32)> {
        let mut upper: Vec<_> = upper.iter().map(|(key, value)| (key.as_bytes().to_vec(), *value)).collect();
        let mut lower: Vec<_> = lower.iter().map(|(key, value)| (key.as_bytes().to_vec(), *value)).collect();
        if direction == Direction::Reverse {
            upper.reverse();
            lower.reverse();
        }
        MergedScan::new(upper.into_iter(), lower.into_iter().map(Ok), direction)
            .map(|entry| entry.map(|(key, value)| (String::from_utf8(key).unwrap(), value)).unwrap())
            .collect()
    }

    #[test]
    fn the_upper_side_hides_the_lower_one() {
        let upper = [("a", Some(1)), ("b", None), ("d", Some(4)), ("e", None)];
        let lower = [("b", 20), ("c", 30), ("d", 40)];
        let expected = [("a".to_owned(), 1), ("c".to_owned(), 30), ("d".to_owned(), 4)];
        assert_eq!(merged(&upper, &lower, Direction::Forward), expected);
        let mut reversed = expected.to_vec();
        reversed.reverse();
        assert_eq!(merged(&upper, &lower, Direction::Reverse), reversed);
    }

    #[test]
    fn an_error_below_is_handed_out() {
        let lower = [Err(StoreError::Closed { store: "stock".into() })];
        let mut scan =
            MergedScan::new([(b"a".to_vec(), Some(1))].into_iter(), lower.into_iter(), Direction::Forward);
        assert!(scan.next().unwrap().is_err());
        assert_eq!(scan.next().unwrap().unwrap(), (b"a".to_vec(), 1));
        assert!(scan.next().is_none());
    }
}
