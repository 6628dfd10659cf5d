//! Records in the test driver that have not reached their task yet, and which of them goes next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use millstream_state_stores::Timestamp;

use super::driver::OwnedMessage;

/// Records by topic. The next one is the first of the topic whose first record has the smallest event time.
///
/// Where times are equal, the topics take turns as in Kafka Streams' driver, whose queue is Java's `PriorityQueue`: so that a test that was
/// written for one driver sees the same order in the other.
#[derive(Default)]
pub(super) struct Arrivals {
    topics: BTreeMap<Arc<str>, VecDeque<OwnedMessage>>,
    /// Topics that have records, as a binary heap by the time of the first one.
    heap: Vec<(Timestamp, Arc<str>)>,
}

impl Arrivals {
    pub(super) fn push(&mut self, topic: &Arc<str>, message: OwnedMessage) {
        let waiting = self.topics.entry(Arc::clone(topic)).or_default();
        if waiting.is_empty() {
            let time = message.timestamp;
            waiting.push_back(message);
            self.offer(time, Arc::clone(topic));
        } else {
            waiting.push_back(message);
        }
    }

    pub(super) fn pop(&mut self) -> Option<(Arc<str>, OwnedMessage)> {
        let topic = self.poll()?;
        let waiting = self.topics.get_mut(&topic)?;
        let message = waiting.pop_front()?;
        if let Some(time) = waiting.front().map(|next| next.timestamp) {
            self.offer(time, Arc::clone(&topic));
        }
        Some((topic, message))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    fn offer(&mut self, time: Timestamp, topic: Arc<str>) {
        self.heap.push((time, topic));
        let mut child = self.heap.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if self.heap[child].0 >= self.heap[parent].0 {
                break;
            }
            self.heap.swap(child, parent);
            child = parent;
        }
    }

    fn poll(&mut self) -> Option<Arc<str>> {
        let last = self.heap.pop()?;
        if self.heap.is_empty() {
            return Some(last.1);
        }
        let (_, first) = std::mem::replace(&mut self.heap[0], last);
        let mut parent = 0;
        while 2 * parent + 1 < self.heap.len() {
            let (left, right) = (2 * parent + 1, 2 * parent + 2);
            let right_is_smaller = right < self.heap.len() && self.heap[left].0 > self.heap[right].0;
            let child = if right_is_smaller { right } else { left };
            if self.heap[parent].0 <= self.heap[child].0 {
                break;
            }
            self.heap.swap(parent, child);
            parent = child;
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::Offset;

    use super::*;
    use crate::api::Headers;

    fn message(millis: i64) -> OwnedMessage {
        OwnedMessage {
            offset: Offset::new(0),
            timestamp: Timestamp::from_millis(millis),
            key: None,
            value: None,
            headers: Headers::default(),
        }
    }

    fn order(records: &[(&str, i64)]) -> Vec<(String, i64)> {
        let mut arrivals = Arrivals::default();
        for (topic, millis) in records {
            arrivals.push(&Arc::from(*topic), message(*millis));
        }
        std::iter::from_fn(|| arrivals.pop())
            .map(|(topic, message)| (topic.to_string(), message.timestamp.as_millis()))
            .collect()
    }

    fn topics(records: &[(&str, i64)]) -> String {
        order(records).into_iter().map(|(topic, _)| topic).collect()
    }

    #[test]
    fn the_smallest_event_time_goes_first_and_a_topic_keeps_its_order() {
        let records = [("a", 5), ("b", 3), ("a", 1), ("b", 9)];
        let expected = [("b", 3), ("a", 5), ("a", 1), ("b", 9)];
        assert_eq!(order(&records), expected.map(|(topic, millis)| (topic.to_string(), millis)));
    }

    /// What `java.util.PriorityQueue` gives for the same calls.
    #[test]
    fn equal_times_take_turns_as_in_java() {
        assert_eq!(topics(&[("a", 1), ("b", 1), ("a", 1), ("b", 1)]), "abab");
        assert_eq!(topics(&[("a", 1), ("b", 1), ("c", 1)]), "acb");
        assert_eq!(topics(&[("a", 1), ("a", 1), ("b", 1), ("c", 1)]), "acab");
    }
}
