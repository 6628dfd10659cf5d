//! `millstream schema`: whether schemas may be registered, before an application tries; and registering them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use millstream::schema_registry::CachedSchemaRegistryClient;
use millstream::{Error, ErrorKind, RegistryError, Result, SchemaKind, SchemaRegistryClient};
use serde_json::json;

use crate::Ended;
use crate::output::{Output, table};

/// Check schemas against a schema registry, or register them
#[derive(Debug, Args)]
pub(crate) struct Schema {
    #[command(subcommand)]
    command: SchemaCommand,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// Tell whether subjects take schemas as their next versions; fails if one does not, for CI
    Check(Schemas),
    /// Register schemas, for applications that do not
    Register(Schemas),
}

/// The schemas, and the registry.
#[derive(Debug, Args)]
struct Schemas {
    /// Where the registry is; several addresses are separated by commas. A user and password, or a token, come from
    /// MILLSTREAM_SCHEMA_REGISTRY_USER and _PASSWORD, or _TOKEN
    #[arg(long, value_name = "URL", env = "MILLSTREAM_SCHEMA_REGISTRY_URL")]
    schema_registry: String,
    /// Trust registries with certificates of the authority in this file, in PEM, in place of the well-known ones
    #[arg(long, value_name = "FILE", env = "MILLSTREAM_SCHEMA_REGISTRY_CA")]
    certificate_authority: Option<PathBuf>,
    /// The language of the files; without it, the endings say: .avsc, .proto, .json
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Subjects and the files of their schemas, such as orders-value=order.avsc
    #[arg(required = true, value_name = "SUBJECT=FILE", value_parser = subject_and_file)]
    schemas: Vec<(String, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Avro,
    Protobuf,
    Json,
}

fn subject_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((subject, file)) if !subject.is_empty() && !file.is_empty() => {
            Ok((subject.to_owned(), file.into()))
        }
        _ => Err("write it as SUBJECT=FILE".to_owned()),
    }
}

impl Schema {
    pub(crate) fn run(self, output: Output) -> Result<Ended> {
        match self.command {
            SchemaCommand::Check(schemas) => schemas.check(output),
            SchemaCommand::Register(schemas) => schemas.register(output),
        }
    }
}

impl Schemas {
    fn client(&self) -> Result<Arc<dyn SchemaRegistryClient>> {
        let client = CachedSchemaRegistryClient::builder(&self.schema_registry).access_from_env();
        let client = match &self.certificate_authority {
            Some(file) => client.certificate_authority_file(file),
            None => client,
        };
        Ok(Arc::new(client.build()?))
    }

    fn read(&self, file: &Path) -> Result<millstream::Schema> {
        let kind = match (self.kind, file.extension().and_then(|ending| ending.to_str())) {
            (Some(Kind::Avro), _) | (None, Some("avsc")) => SchemaKind::Avro,
            (Some(Kind::Protobuf), _) | (None, Some("proto")) => SchemaKind::Protobuf,
            (Some(Kind::Json), _) | (None, Some("json")) => SchemaKind::Json,
            (None, _) => {
                let file = file.display();
                return Err(Error::invalid(format!(
                    "the ending of {file} does not say its language: pass --kind"
                )));
            }
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Error::invalid(format!("cannot read {}", file.display())).with_source(error))?;
        Ok(millstream::Schema::new(kind, text))
    }

    fn check(self, output: Output) -> Result<Ended> {
        let client = self.client()?;
        let mut results = Vec::new();
        for (subject, file) in &self.schemas {
            let schema = self.read(file)?;
            let problems = client.incompatibilities(subject, &schema).map_err(failed)?;
            results.push((subject, file, problems));
        }
        let json: Vec<_> = results
            .iter()
            .map(|(subject, file, problems)| {
                json!({ "subject": subject, "file": file, "compatible": problems.is_empty(), "problems": problems })
            })
            .collect();
        output.print(&json.into(), || {
            let mut table = table(["SUBJECT", "FILE", "COMPATIBLE"]);
            for (subject, file, problems) in &results {
                let verdict = if problems.is_empty() {
                    "yes".to_owned()
                } else {
                    format!("no: {}", problems.join("; "))
                };
                table.add_row([(*subject).clone(), file.display().to_string(), verdict]);
            }
            table.to_string()
        })?;
        let refused: Vec<&str> = results
            .iter()
            .filter(|(_, _, problems)| !problems.is_empty())
            .map(|(subject, ..)| subject.as_str())
            .collect();
        if refused.is_empty() {
            return Ok(Ended::Done);
        }
        Err(Error::invalid(format!("these subjects do not take their schemas: {}", refused.join(", "))))
    }

    fn register(self, output: Output) -> Result<Ended> {
        let client = self.client()?;
        let mut registered = Vec::new();
        for (subject, file) in &self.schemas {
            registered.push((subject, client.register(subject, &self.read(file)?).map_err(failed)?));
        }
        let json: Vec<_> =
            registered.iter().map(|(subject, id)| json!({ "subject": subject, "id": id.get() })).collect();
        output.print(&json.into(), || {
            let mut table = table(["SUBJECT", "ID"]);
            for (subject, id) in &registered {
                table.add_row([(*subject).clone(), id.to_string()]);
            }
            table.to_string()
        })?;
        Ok(Ended::Done)
    }
}

fn failed(error: RegistryError) -> Error {
    let kind = if error.may_pass() { ErrorKind::Retry } else { ErrorKind::Invalid };
    Error::new(kind, "the schemas could not be settled with the registry").with_source(error)
}
