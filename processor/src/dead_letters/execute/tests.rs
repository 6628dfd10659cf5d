//! Redrives on a Kafka in memory, whose clients can die at any point, and each other's.

use parking_lot::Mutex;

use super::*;
use crate::clock::ManualClock;
use crate::kafka::NewTopic;

const LETTERS: &str = "shop-dead-letters";
const MARKERS: &str = "shop-dead-letters-redriven";

/// Records of a partition; those of a transaction are in it once it is committed.
type Log = Vec<TopicEntry>;

/// Topics, and the one transactional id that a redrive has.
#[derive(Clone, Default)]
struct FakeKafka(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Vec<Log>>,
    policies: BTreeMap<String, String>,
    topic_id: u8,
    /// Which producer of the id is the current one.
    epoch: u32,
    /// What another redrive does just before the next producer of the id is made.
    rival: Option<RedrivePlan>,
    /// Effects that are left before the process dies.
    effects_left: Option<usize>,
    /// Commits that fail before others succeed, and leave the transaction to be aborted.
    failing_commits: u32,
    /// Values longer than this are not taken.
    most_bytes: Option<usize>,
}

impl State {
    fn effect(&mut self) -> Result<()> {
        if self.effects_left == Some(0) {
            return Err(Error::fatal("the process died"));
        }
        self.effects_left = self.effects_left.map(|left| left - 1);
        Ok(())
    }

    fn append(&mut self, topic: &str, partition: i32, record: &FailedRecord) {
        let log = &mut self.topics.get_mut(topic).unwrap()[usize::try_from(partition).unwrap()];
        let offset = log.last().map_or(Offset::new(0), |last| last.id.offset.next());
        log.push(TopicEntry {
            id: LetterId { partition, offset },
            timestamp: record.timestamp,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        });
    }
}

struct FakeProducer {
    kafka: FakeKafka,
    epoch: u32,
    open: Vec<(String, i32, FailedRecord)>,
}

impl FakeKafka {
    /// With two partitions of `orders`, and letters of these records of them: value, then partition.
    fn with_letters(records: &[(&str, i32)]) -> Self {
        let kafka = FakeKafka::default();
        {
            let mut state = kafka.0.lock();
            state.topics.insert("orders".into(), vec![Log::new(), Log::new()]);
            state.topics.insert(LETTERS.into(), vec![Log::new()]);
        }
        for (value, partition) in records {
            let partition = partition.to_string();
            let said = [(headers::TOPIC, "orders"), (headers::PARTITION, &partition), (headers::OFFSET, "7")];
            kafka.write_letter(value, &said);
        }
        kafka
    }

    fn write_letter(&self, value: &str, said: &[(&str, &str)]) {
        let mut all = Headers::default();
        all.push("trace", Some(Bytes::from_static(b"abc")));
        all.push(headers::EXCEPTION, Some(Bytes::from_static(b"SerdeError::Json")));
        for (name, value) in said {
            all.push(*name, Some(Bytes::copy_from_slice(value.as_bytes())));
        }
        self.0.lock().append(LETTERS, 0, &record(value, all));
    }

    fn plan(&self) -> Result<RedrivePlan> {
        plan(self, LETTERS, &RedriveRequest::default())
    }

    fn redrive(&self) -> Result<RedriveOutcome> {
        self.execute(&self.plan()?, |_| ())
    }

    fn execute(&self, plan: &RedrivePlan, on_step: impl FnMut(&RedriveStep)) -> Result<RedriveOutcome> {
        execute(self, &*ManualClock::at(Timestamp::from_millis(9_000)), plan, on_step)
    }

    fn list(&self) -> Result<LetterList> {
        list(self, &Topic::find(self, LETTERS)?, &LetterFilter::default())
    }

    fn log(&self, topic: &str) -> Vec<TopicEntry> {
        self.0.lock().topics[topic].concat()
    }

    /// The values in `orders`, sorted.
    fn orders(&self) -> Vec<String> {
        let value = |entry: TopicEntry| String::from_utf8(entry.value.unwrap().to_vec()).unwrap();
        let mut orders: Vec<String> = self.log("orders").into_iter().map(value).collect();
        orders.sort();
        orders
    }
}

fn record(value: &str, headers: Headers) -> FailedRecord {
    FailedRecord {
        timestamp: Timestamp::from_millis(2_000),
        key: Some(Bytes::from_static(b"apples")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers,
    }
}

impl ClusterAdmin for FakeKafka {
    fn partition_counts(&self, topics: &[String]) -> Result<BTreeMap<String, i32>> {
        let mut counts = self.all_partition_counts()?;
        counts.retain(|name, _| topics.contains(name));
        Ok(counts)
    }

    fn all_partition_counts(&self) -> Result<BTreeMap<String, i32>> {
        let count = |partitions: &Vec<Log>| i32::try_from(partitions.len()).unwrap();
        Ok(self.0.lock().topics.iter().map(|(name, logs)| (name.clone(), count(logs))).collect())
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<()> {
        let mut state = self.0.lock();
        state.effect()?;
        assert_eq!(topic.config["cleanup.policy"], "compact");
        let logs = vec![Log::new(); usize::try_from(topic.partitions).unwrap()];
        state.topics.entry(topic.name.clone()).or_insert(logs);
        Ok(())
    }

    fn topic_config(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        let state = self.0.lock();
        let policy = state.policies.get(topic).cloned().unwrap_or_else(|| "compact".into());
        Ok(BTreeMap::from([("cleanup.policy".into(), policy)]))
    }

    fn topic_ids(&self, topics: &[String]) -> Result<BTreeMap<String, TopicId>> {
        let id = TopicId::from_bytes([self.0.lock().topic_id; 16]);
        Ok(topics.iter().map(|topic| (topic.clone(), id)).collect())
    }
}

impl LetterCluster for FakeKafka {
    type Transactions = FakeProducer;

    fn admin(&self) -> &dyn ClusterAdmin {
        self
    }

    fn read(
        &self,
        topic: &str,
        from: &BTreeMap<i32, Offset>,
        each: &mut dyn FnMut(TopicEntry) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        let is_asked =
            |entry: &TopicEntry| from.get(&entry.id.partition).is_some_and(|from| entry.id.offset >= *from);
        for entry in self.log(topic).into_iter().filter(is_asked) {
            if each(entry)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn transactions(&self, transactional_id: &str) -> Result<FakeProducer> {
        assert_eq!(transactional_id, "shop-dead-letters-redrive");
        let rival = self.0.lock().rival.take();
        if let Some(plan) = rival {
            self.execute(&plan, |_| ())?;
        }
        let mut state = self.0.lock();
        state.effect()?;
        state.epoch += 1;
        Ok(FakeProducer { kafka: self.clone(), epoch: state.epoch, open: Vec::new() })
    }
}

impl LetterTransactions for FakeProducer {
    fn send(&mut self, topic: &str, partition: Option<i32>, record: &FailedRecord) -> Result<()> {
        self.kafka.0.lock().effect()?;
        self.open.push((topic.to_owned(), partition.unwrap_or(0), record.clone()));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let most = self.kafka.0.lock().most_bytes.unwrap_or(usize::MAX);
        let is_too_large =
            |record: &FailedRecord| record.value.as_ref().is_some_and(|value| value.len() > most);
        match self.open.iter().any(|(topic, _, record)| topic == "orders" && is_too_large(record)) {
            true => Err(Error::new(ErrorKind::Record, "a record is too large")),
            false => Ok(()),
        }
    }

    fn commit(&mut self) -> Result<()> {
        let mut state = self.kafka.0.lock();
        state.effect()?;
        if state.epoch != self.epoch {
            return Err(Error::new(ErrorKind::Migrated, "fenced"));
        }
        if state.failing_commits > 0 {
            state.failing_commits -= 1;
            return Err(Error::new(ErrorKind::Abortable, "it must be aborted"));
        }
        self.open.drain(..).for_each(|(topic, partition, record)| state.append(&topic, partition, &record));
        // It may be committed, and nobody hears of it.
        state.effect()
    }

    fn abort(&mut self) -> Result<()> {
        self.open.clear();
        match self.kafka.0.lock().epoch == self.epoch {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Migrated, "fenced")),
        }
    }
}

#[test]
fn a_record_is_put_back_as_it_was_and_once() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 1), ("2", 0)]);
    let mut steps = Vec::new();
    let plan = kafka.plan()?;
    let outcome = kafka.execute(&plan, |step| steps.push(step.clone()))?;
    assert_eq!(outcome, RedriveOutcome { redriven: 2, ..RedriveOutcome::default() });
    assert_eq!(steps, [RedriveStep::Begun(2), RedriveStep::Written(2), RedriveStep::Committed(2)]);

    let orders = kafka.log("orders");
    let places: Vec<_> =
        orders.iter().map(|order| (order.id.partition, order.value.clone().unwrap())).collect();
    assert_eq!(places, [(0, "2".into()), (1, "1".into())]);
    let order = &orders[0];
    assert_eq!((order.key.as_deref(), order.timestamp.as_millis()), (Some(&b"apples"[..]), 2_000));
    let named: Vec<_> =
        order.headers.iter().map(|header| (header.name.as_str(), header.value.clone().unwrap())).collect();
    assert_eq!(named, [("trace", "abc".into()), (headers::REDRIVEN, "1".into())]);

    let letters = kafka.list()?.letters;
    assert!(
        letters.iter().all(|letter| letter.redriven_at == Some(Timestamp::from_millis(9_000))),
        "{letters:?}"
    );
    let again = kafka.plan()?;
    assert_eq!((again.redriven.len(), again.left.len()), (0, 2));
    // The plan of before.
    let outcome = kafka.execute(&plan, |_| ())?;
    assert_eq!(outcome, RedriveOutcome { redriven_before: 2, ..RedriveOutcome::default() });
    assert_eq!(kafka.orders(), ["1", "2"]);
    Ok(())
}

#[test]
fn how_often_a_record_was_put_back_is_counted() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    kafka.redrive()?;
    let order = kafka.log("orders").remove(0);
    let mut failed_again = order.headers;
    for (name, value) in
        [(headers::EXCEPTION, "Error"), (headers::TOPIC, "orders"), (headers::PARTITION, "0")]
    {
        failed_again.push(name, Some(Bytes::from_static(value.as_bytes())));
    }
    failed_again.push(headers::OFFSET, Some(Bytes::from_static(b"0")));
    kafka.0.lock().append(LETTERS, 0, &record("1", failed_again));
    assert_eq!(kafka.list()?.letters[1].times_redriven, 1);
    assert_eq!(kafka.redrive()?.redriven, 1);
    let times = |order: &TopicEntry| order.headers.last(headers::REDRIVEN).flatten().cloned();
    assert_eq!(
        kafka.log("orders").iter().map(times).collect::<Vec<_>>(),
        [Some("1".into()), Some("2".into())]
    );
    Ok(())
}

/// Enough for three transactions.
fn many() -> Vec<String> {
    let mut values: Vec<String> = (0..2 * MOST_RECORDS + 10).map(|order| order.to_string()).collect();
    values.sort();
    values
}

fn with_many_letters() -> FakeKafka {
    let values = many();
    let records: Vec<(&str, i32)> = values.iter().map(|value| (value.as_str(), 0)).collect();
    FakeKafka::with_letters(&records)
}

#[test]
fn whatever_a_redrive_dies_of_the_next_puts_back_what_is_left() -> Result<()> {
    // A topic, a producer; for each transaction two records a letter, and a commit before and after which it may die.
    let effects = 2 + 2 * many().len() + 3 * 2;
    let near_the_ends = |at: &usize| (at + 4) % (2 * MOST_RECORDS) < 10 || *at > effects - 10;
    for dies_at in (0..effects).filter(near_the_ends) {
        let kafka = with_many_letters();
        kafka.0.lock().effects_left = Some(dies_at);
        let died = kafka.redrive();
        assert!(died.is_err(), "{dies_at} of {effects}: {died:?}");
        kafka.0.lock().effects_left = None;
        let before = kafka.orders().len();
        assert_eq!(kafka.redrive()?.redriven, many().len() - before);
        assert_eq!(kafka.orders(), many(), "{dies_at}");
        assert_eq!(kafka.log(MARKERS).len(), many().len());
    }
    let kafka = with_many_letters();
    kafka.0.lock().effects_left = Some(effects);
    assert_eq!(kafka.redrive()?.redriven, many().len());
    Ok(())
}

#[test]
fn of_two_redrives_at_once_the_later_goes_on_and_no_record_is_put_back_twice() -> Result<()> {
    for second_begins in 0..7 {
        let kafka = with_many_letters();
        let plan = kafka.plan()?;
        let (mut steps, mut second) = (0, None);
        let first = kafka.execute(&plan, |_| {
            if steps == second_begins {
                second = Some(kafka.execute(&plan, |_| ()));
            }
            steps += 1;
        });
        let second = second.expect("it began")?;
        assert_eq!(second.redriven + second.redriven_before, many().len());
        match first {
            // The first had committed everything already.
            Ok(first) => assert_eq!((second_begins, first.redriven), (6, many().len())),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Migrated);
                assert!(error.to_string().contains("run the redrive again"), "{error}");
            }
        }
        assert_eq!(kafka.orders(), many());
    }
    Ok(())
}

#[test]
fn what_another_redrive_puts_back_at_the_last_moment_is_seen() -> Result<()> {
    let kafka = with_many_letters();
    let plan = kafka.plan()?;
    kafka.0.lock().rival = Some(plan.clone());
    let outcome = kafka.execute(&plan, |_| ())?;
    assert_eq!(outcome, RedriveOutcome { redriven_before: many().len(), ..RedriveOutcome::default() });
    assert_eq!(kafka.orders(), many());
    Ok(())
}

#[test]
fn a_record_that_is_not_taken_keeps_no_other_from_it() -> Result<()> {
    let large = "x".repeat(100);
    let kafka = FakeKafka::with_letters(&[("1", 0), ("2", 0), (&large, 0), ("3", 0), ("4", 0)]);
    kafka.0.lock().most_bytes = Some(50);
    let outcome = kafka.redrive()?;
    assert_eq!((outcome.redriven, kafka.orders()), (4, ["1", "2", "3", "4"].map(str::to_owned).to_vec()));
    let [(letter, why)] = outcome.refused.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(letter.to_string(), "0:2");
    assert!(why.contains("a record is too large"), "{why}");
    assert_eq!(kafka.list()?.letters[2].redriven_at, None);

    let repair = Repair { value: Some(Bytes::from_static(b"repaired")), key: None };
    let repaired = RedriveRequest { letters: Selection::Only(*letter, repair), by_key: false };
    let plan = plan(&kafka, LETTERS, &repaired)?;
    assert_eq!(kafka.execute(&plan, |_| ())?.redriven, 1);
    assert_eq!(kafka.orders().last().map(String::as_str), Some("repaired"));
    let again = super::plan(&kafka, LETTERS, &repaired).unwrap_err().to_string();
    assert!(
        again.contains("letter 0:2 of shop-dead-letters cannot be redriven: it is redriven before"),
        "{again}"
    );
    Ok(())
}

#[test]
fn a_transaction_that_must_be_aborted_is_tried_again_a_few_times() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0), ("2", 1)]);
    kafka.0.lock().failing_commits = MOST_TRIES;
    let error = kafka.redrive().unwrap_err().to_string();
    assert!(error.contains("run the redrive again") && error.contains("it must be aborted"), "{error}");
    assert!(kafka.orders().is_empty());
    kafka.0.lock().failing_commits = MOST_TRIES - 1;
    assert_eq!(kafka.redrive()?.redriven, 2);
    assert_eq!(kafka.orders(), ["1", "2"]);
    Ok(())
}

#[test]
fn a_topic_that_was_made_anew_has_letters_of_its_own() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    let plan = kafka.plan()?;
    kafka.redrive()?;
    kafka.0.lock().topic_id += 1;
    let refused = kafka.execute(&plan, |_| ()).unwrap_err().to_string();
    assert!(refused.contains("shop-dead-letters was deleted and made again"), "{refused}");
    assert_eq!(kafka.list()?.letters[0].redriven_at, None);
    assert_eq!(kafka.redrive()?.redriven, 1);
    Ok(())
}

#[test]
fn letters_that_were_deleted_meanwhile_are_told() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0), ("2", 0)]);
    let plan = kafka.plan()?;
    kafka.0.lock().topics.get_mut(LETTERS).unwrap()[0].remove(0);
    let outcome = kafka.execute(&plan, |_| ())?;
    let gone = LetterId { partition: 0, offset: Offset::new(0) };
    assert_eq!((outcome.redriven, outcome.gone), (1, vec![gone]));
    Ok(())
}

#[test]
fn a_topic_of_markers_that_forgets_is_refused() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    {
        let mut state = kafka.0.lock();
        state.topics.insert(MARKERS.into(), vec![Log::new(), Log::new()]);
        state.policies.insert(MARKERS.into(), "delete".into());
    }
    let refused = kafka.redrive().unwrap_err().to_string();
    for said in [MARKERS, "has cleanup.policy=delete but needs compact", "kafka-configs --alter"] {
        assert!(refused.contains(said), "{refused}");
    }
    kafka.0.lock().policies.clear();
    assert_eq!(kafka.redrive()?.redriven, 1, "its partitions are as many as somebody wished");
    assert_eq!(kafka.plan()?.left.len(), 1);
    Ok(())
}

#[test]
fn what_is_not_there_is_named_with_the_remedy() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    kafka.0.lock().append(LETTERS, 0, &record("2", Headers::default()));
    let said = |error: Error, parts: &[&str]| {
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in: {text}"));
    };
    let no_topic = plan(&kafka, "shpo-dead-letters", &RedriveRequest::default()).unwrap_err();
    said(no_topic, &["there is no dead-letter topic shpo-dead-letters", "check the application id"]);
    let only = |text: &str| show(&kafka, &Topic::find(&kafka, LETTERS)?, text.parse()?);
    said(only("1:0").unwrap_err(), &["shop-dead-letters has partitions 0 to 0, not 1"]);
    said(only("0:9").unwrap_err(), &["there is no record 0:9 in shop-dead-letters", "dead-letters list"]);
    said(only("0:1").unwrap_err(), &["0:1", "is no dead letter", "no header __streams.errors.exception"]);
    let list = kafka.list()?;
    assert_eq!(list.letters.len(), 1);
    assert_eq!(list.others, Some((1, "0:1: it has no header __streams.errors.exception".to_owned())));
    assert_eq!(only("0:0")?.1.value.as_deref(), Some(&b"1"[..]));
    Ok(())
}
