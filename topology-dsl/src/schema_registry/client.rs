//! The registry's API, as far as serdes need it, and what is remembered of its answers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use millstream_processor::{
    Error, RegisteredSchema, RegistryError, Result, Schema, SchemaId, SchemaKind, SchemaRegistryClient,
};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::builder::{SchemaRegistryClientBuilder, variable};
use super::http::{Answer, Http};

/// Asks a schema registry that speaks Confluent's API, and remembers what cannot change: which schema an id means, and which id a schema has
/// in a subject (Confluent's `CachedSchemaRegistryClient`). Whether the registry answers or not, a question takes no longer than its deadline.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use millstream::schema_registry::CachedSchemaRegistryClient;
/// use millstream::{RegistryError, SchemaRegistry, SchemaRegistryClient};
///
/// let client = CachedSchemaRegistryClient::builder("http://localhost:1")
///     .basic_auth("shop", "secret")
///     .deadline(Duration::from_millis(20))
///     .build()?;
/// let registry = SchemaRegistry::new(Arc::new(client));
/// let Err(RegistryError::Away { .. }) = registry.client().latest("orders-value") else { panic!("nobody listens there") };
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct CachedSchemaRegistryClient {
    http: Http,
    known: Mutex<Known>,
}

/// What cannot change; and of ids that no schema has, when the registry said so.
#[derive(Default)]
struct Known {
    schemas: BTreeMap<SchemaId, Schema>,
    ids: BTreeMap<String, BTreeMap<Schema, SchemaId>>,
    unknown: BTreeMap<SchemaId, Duration>,
}

/// For how long the registry is not asked again about an id that no schema has, so that a topic full of such records does not cost a request each.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// About how many such ids are remembered.
const MOST_UNKNOWN: usize = 1_000;

impl Known {
    fn is_unknown(&self, id: SchemaId, now: Duration) -> bool {
        self.unknown.get(&id).is_some_and(|since| now.saturating_sub(*since) < ASK_AGAIN_AFTER)
    }

    fn note_unknown(&mut self, id: SchemaId, now: Duration) {
        if self.unknown.len() >= MOST_UNKNOWN {
            self.unknown.clear();
        }
        self.unknown.insert(id, now);
    }
}

impl CachedSchemaRegistryClient {
    /// A client of the registry at these addresses, separated by commas; of several, one that answers is asked.
    pub fn builder(urls: &str) -> SchemaRegistryClientBuilder {
        SchemaRegistryClientBuilder::new(urls)
    }

    /// A client as environment variables say: `MILLSTREAM_SCHEMA_REGISTRY_URL`, and what
    /// [`access_from_env`](SchemaRegistryClientBuilder::access_from_env) takes from there.
    ///
    /// # Errors
    /// `Invalid` if the address is missing, or anything of it is wrong.
    pub fn from_env() -> Result<Self> {
        let url = variable("URL").ok_or_else(|| {
            Error::invalid("MILLSTREAM_SCHEMA_REGISTRY_URL is not set: say where the registry is, such as http://localhost:8081")
        })?;
        CachedSchemaRegistryClient::builder(&url).access_from_env().build()
    }

    pub(super) fn asking(http: Http) -> Self {
        CachedSchemaRegistryClient { http, known: Mutex::default() }
    }
}

impl CachedSchemaRegistryClient {
    fn remembered_id(&self, subject: &str, schema: &Schema) -> Option<SchemaId> {
        self.known.lock().ids.get(subject)?.get(schema).copied()
    }

    fn remember(&self, subject: &str, schema: &Schema, id: SchemaId) {
        let mut known = self.known.lock();
        known.ids.entry(subject.to_owned()).or_default().insert(schema.clone(), id);
        // What is written can be read again without a question.
        known.schemas.entry(id).or_insert_with(|| schema.clone());
    }
}

impl SchemaRegistryClient for CachedSchemaRegistryClient {
    fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId, RegistryError> {
        if let Some(id) = self.remembered_id(subject, schema) {
            return Ok(id);
        }
        let answer =
            self.http.ask(&format!("/subjects/{}/versions", escaped(subject)), Some(&request(schema)))?;
        match answer.status {
            200 => {
                let id = id_in(&answer)?;
                self.remember(subject, schema, id);
                Ok(id)
            }
            409 => Err(RegistryError::Incompatible { subject: subject.to_owned(), reason: answer.message() }),
            _ => Err(answer.refused(&format!("to register a schema in subject {subject}"))),
        }
    }

    fn id_of(&self, subject: &str, schema: &Schema) -> Result<Option<SchemaId>, RegistryError> {
        if let Some(id) = self.remembered_id(subject, schema) {
            return Ok(Some(id));
        }
        let answer = self.http.ask(&format!("/subjects/{}", escaped(subject)), Some(&request(schema)))?;
        match answer.status {
            200 => {
                let id = id_in(&answer)?;
                self.remember(subject, schema, id);
                Ok(Some(id))
            }
            404 if answer.code().is_some() => Ok(None),
            _ => Err(answer.refused(&format!("to look up a schema in subject {subject}"))),
        }
    }

    fn latest(&self, subject: &str) -> Result<Option<RegisteredSchema>, RegistryError> {
        let answer = self.http.ask(&format!("/subjects/{}/versions/latest", escaped(subject)), None)?;
        match answer.status {
            200 => {
                let id = id_in(&answer)?;
                let schema = schema_in(id, &answer)?;
                let version = answer.body["version"].as_u64().and_then(|version| u32::try_from(version).ok());
                let version = version.ok_or_else(|| answer.incomplete("version"))?;
                self.known.lock().schemas.insert(id, schema.clone());
                Ok(Some(RegisteredSchema { id, version, schema }))
            }
            404 if answer.code().is_some() => Ok(None),
            _ => Err(answer.refused(&format!("to tell the newest schema of subject {subject}"))),
        }
    }

    fn schema(&self, id: SchemaId) -> Result<Schema, RegistryError> {
        {
            let known = self.known.lock();
            if let Some(schema) = known.schemas.get(&id) {
                return Ok(schema.clone());
            }
            if known.is_unknown(id, self.http.clock.monotonic()) {
                return Err(RegistryError::UnknownId { id });
            }
        }
        let answer = self.http.ask(&format!("/schemas/ids/{id}"), None)?;
        match answer.status {
            200 => {
                let schema = schema_in(id, &answer)?;
                self.known.lock().schemas.insert(id, schema.clone());
                Ok(schema)
            }
            404 if answer.code().is_some() => {
                self.known.lock().note_unknown(id, self.http.clock.monotonic());
                Err(RegistryError::UnknownId { id })
            }
            _ => Err(answer.refused(&format!("to tell schema {id}"))),
        }
    }

    fn incompatibilities(&self, subject: &str, schema: &Schema) -> Result<Vec<String>, RegistryError> {
        let path = format!("/compatibility/subjects/{}/versions?verbose=true", escaped(subject));
        let answer = self.http.ask(&path, Some(&request(schema)))?;
        match answer.status {
            200 => {
                let is_compatible = answer.body["is_compatible"].as_bool();
                if is_compatible.ok_or_else(|| answer.incomplete("is_compatible"))? {
                    return Ok(Vec::new());
                }
                let messages = answer.body["messages"].as_array().into_iter().flatten();
                let messages: Vec<String> = messages.filter_map(Value::as_str).map(str::to_owned).collect();
                Ok(if messages.is_empty() {
                    vec!["the registry does not say why".to_owned()]
                } else {
                    messages
                })
            }
            // There is no version that it would have to fit.
            404 if answer.code().is_some() => Ok(Vec::new()),
            _ => Err(answer.refused(&format!("to check a schema for subject {subject}"))),
        }
    }
}

impl fmt::Debug for CachedSchemaRegistryClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CachedSchemaRegistryClient")
            .field("addresses", &self.http.addresses)
            .finish_non_exhaustive()
    }
}

fn escaped(subject: &str) -> String {
    utf8_percent_encode(subject, NON_ALPHANUMERIC).to_string()
}

/// A schema as it is sent. Avro is what the registry takes for granted.
fn request(schema: &Schema) -> Value {
    match schema.kind {
        SchemaKind::Avro => json!({ "schema": &*schema.text }),
        kind => json!({ "schema": &*schema.text, "schemaType": kind.name() }),
    }
}

fn id_in(answer: &Answer) -> Result<SchemaId, RegistryError> {
    let id = answer.body["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.map(SchemaId::new).ok_or_else(|| answer.incomplete("id"))
}

fn schema_in(id: SchemaId, answer: &Answer) -> Result<Schema, RegistryError> {
    if answer.body["references"].as_array().is_some_and(|references| !references.is_empty()) {
        return Err(RegistryError::References { id });
    }
    let kind = match &answer.body["schemaType"] {
        Value::String(name) => {
            SchemaKind::of_name(name).ok_or_else(|| RegistryError::UnknownKind { id, name: name.clone() })?
        }
        _ => SchemaKind::Avro,
    };
    let text = answer.body["schema"].as_str().ok_or_else(|| answer.incomplete("schema"))?;
    Ok(Schema::new(kind, text))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};

    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::test_runner::TestRunner;

    use super::super::http::FIRST_PAUSE;
    use super::*;

    /// JSON of the names that registries use, and of values that they do not.
    fn body() -> impl Strategy<Value = Value> {
        const NAMES: &[&str] = &[
            "id",
            "version",
            "schema",
            "schemaType",
            "references",
            "error_code",
            "message",
            "is_compatible",
            "messages",
        ];
        let number = prop_oneof![
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (-2..3_i64).prop_map(Value::from)
        ];
        let text =
            prop_oneof![select(&["AVRO", "JSON", "\"string\""][..]).prop_map(str::to_owned), any::<String>()];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number,
            text.prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            let named = prop::collection::vec((select(NAMES), inner.clone()), 0..6);
            let object = named.prop_map(|fields| {
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            });
            prop_oneof![object, prop::collection::vec(inner, 0..4).prop_map(Value::from)]
        })
    }

    /// An answer as it goes over the wire; its header and its end may be broken.
    fn answer() -> impl Strategy<Value = Vec<u8>> {
        let header = prop_oneof![
            4 => select(&[200_u16, 404, 409, 500, 0, 99][..]).prop_map(|status| format!("HTTP/1.1 {status} so\r\n")),
            1 => "\\PC{0,20}(\r\n)?",
        ];
        let length = prop_oneof![
            4 => Just(None),
            1 => select(&["0", "3", "-1", "18446744073709551615"][..]).prop_map(Some),
        ];
        let text =
            prop_oneof![4 => body().prop_map(|body| body.to_string().into_bytes()), 1 => any::<Vec<u8>>()];
        (header, length, text).prop_map(|(header, length, text)| {
            let length = length.map_or(text.len().to_string(), str::to_owned);
            [format!("{header}content-length: {length}\r\n\r\n").as_bytes(), &text].concat()
        })
    }

    /// Gives each answer to one request, and ends when there are no more.
    fn serve(listener: &TcpListener, answers: &Receiver<Vec<u8>>) {
        for answer in answers {
            let Ok((mut connection, _)) = listener.accept() else { return };
            // Whoever closes before the request is read, or reads no answer, is none of the server's business.
            drop(connection.read(&mut [0; 4096]));
            drop(connection.write_all(&answer));
        }
    }

    #[test]
    fn arbitrary_answers_are_answers_or_errors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, to_give) = channel();
        let server = std::thread::spawn(move || serve(&listener, &to_give));
        // One try, whatever comes of it.
        let deadline = FIRST_PAUSE - Duration::from_millis(1);
        let answered = Cell::new(0);
        let outcome = TestRunner::new(ProptestConfig::with_source_file(file!())).run(
            &(answer(), 0..4),
            |(answer, question)| {
                let client = CachedSchemaRegistryClient::builder(&format!("http://{address}"))
                    .deadline(deadline)
                    .build();
                let client = client.expect("the address is right");
                answers.send(answer).expect("the server runs");
                let order = Schema::new(SchemaKind::Json, "{}");
                let failure = match question {
                    0 => client.schema(SchemaId::new(1)).err(),
                    1 => client.latest("orders-value").err(),
                    2 => client.register("orders-value", &order).err(),
                    _ => client.incompatibilities("orders-value", &order).err(),
                };
                let is_answered = !matches!(failure, Some(RegistryError::Away { .. }));
                answered.set(answered.get() + u32::from(is_answered));
                Ok(())
            },
        );
        drop(answers);
        // It may wait for a request that was never sent.
        drop(TcpStream::connect(address));
        server.join().unwrap();
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(answered.get() > 0, "no answer came in time");
    }
}
