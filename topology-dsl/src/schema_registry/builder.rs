//! How to reach a schema registry: where it is, who asks, and whom to trust.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_processor::clock::{Clock, SystemClock};
use millstream_processor::{BoxError, Error, Result};
use ureq::Agent;

use super::CachedSchemaRegistryClient;
use super::http::{Authorization, Http};

/// How to reach a schema registry. See [`CachedSchemaRegistryClient::builder`].
pub struct SchemaRegistryClientBuilder {
    addresses: Vec<String>,
    authorization: Authorization,
    request_timeout: Duration,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    authority: Option<Authority>,
}

/// Where the certificates of an authority are, in PEM.
enum Authority {
    #[cfg(feature = "schema-registry-tls")]
    Here(Vec<u8>),
    InFile(PathBuf),
}

/// What the environment says of the schema registry under this name.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(format!("MILLSTREAM_SCHEMA_REGISTRY_{name}")).ok()
}

impl SchemaRegistryClientBuilder {
    pub(super) fn new(urls: &str) -> Self {
        let addresses = urls.split(',').map(|url| url.trim().trim_end_matches('/').to_owned());
        SchemaRegistryClientBuilder {
            addresses: addresses.filter(|url| !url.is_empty()).collect(),
            authorization: Authorization::Nobody,
            request_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(20),
            clock: SystemClock::shared(),
            authority: None,
        }
    }

    /// Says who asks, with a password.
    #[must_use]
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        Self { authorization: Authorization::Always(Http::basic(user, password)), ..self }
    }

    /// Says who asks, with a token. For one that expires, see [`bearer_token_from`](Self::bearer_token_from).
    #[must_use]
    pub fn bearer_token(self, token: &str) -> Self {
        Self { authorization: Authorization::Always(Http::bearer(token)), ..self }
    }

    /// Says who asks, with the token that `token` gives at each request. Requests are few: one for each schema, and none for a record. Where there
    /// is no token for the moment, it is asked for again until the deadline.
    ///
    /// ```
    /// use millstream::schema_registry::CachedSchemaRegistryClient;
    ///
    /// let client = CachedSchemaRegistryClient::builder("http://localhost:8081")
    ///     .bearer_token_from(|| Ok(std::fs::read_to_string("/var/run/secrets/registry-token")?))
    ///     .build()?;
    /// # drop(client);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    pub fn bearer_token_from(
        self,
        token: impl Fn() -> Result<String, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self { authorization: Authorization::Bearer(Box::new(token)), ..self }
    }

    /// Says who asks, and whom to trust, as environment variables have it: `MILLSTREAM_SCHEMA_REGISTRY_USER` and
    /// `MILLSTREAM_SCHEMA_REGISTRY_PASSWORD`, or `MILLSTREAM_SCHEMA_REGISTRY_TOKEN`, without them nobody; and `MILLSTREAM_SCHEMA_REGISTRY_CA`, a
    /// file with the certificates of an authority ([`certificate_authority_file`](Self::certificate_authority_file)).
    #[must_use]
    pub fn access_from_env(self) -> Self {
        let builder = match (variable("USER"), variable("TOKEN")) {
            (Some(user), _) => self.basic_auth(&user, &variable("PASSWORD").unwrap_or_default()),
            (None, Some(token)) => self.bearer_token(&token),
            (None, None) => self,
        };
        match variable("CA") {
            Some(file) => builder.certificate_authority_file(file),
            None => builder,
        }
    }

    /// Trusts registries with certificates of this authority, in PEM, in place of the well-known ones. There may be several.
    #[cfg(feature = "schema-registry-tls")]
    #[must_use]
    pub fn certificate_authority(self, pem: &[u8]) -> Self {
        Self { authority: Some(Authority::Here(pem.to_vec())), ..self }
    }

    /// Trusts registries with certificates of the authority in this file, in PEM, in place of the well-known ones. There may be several. Needs
    /// the feature `schema-registry-tls`.
    #[must_use]
    pub fn certificate_authority_file(self, file: impl Into<PathBuf>) -> Self {
        Self { authority: Some(Authority::InFile(file.into())), ..self }
    }

    /// How long a single request may take; 5 seconds unless said otherwise.
    #[must_use]
    pub fn request_timeout(self, request_timeout: Duration) -> Self {
        Self { request_timeout, ..self }
    }

    /// How long an answer is waited for, all tries together; 20 seconds unless said otherwise. A stream thread that meets a schema it does not know
    /// waits this long at most. Of several addresses, each is tried once within that time.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Where the time comes from. Without it, the machine's clocks.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The client. Nothing is asked yet.
    ///
    /// # Errors
    /// `Invalid` if an address or a certificate is wrong.
    pub fn build(self) -> Result<CachedSchemaRegistryClient> {
        if self.addresses.is_empty() {
            return Err(Error::invalid(
                "the schema registry has no address: say where it is, such as http://localhost:8081",
            ));
        }
        for address in &self.addresses {
            check_address(address)?;
        }
        let config = Agent::config_builder().http_status_as_error(false);
        #[cfg(feature = "schema-registry-tls")]
        let config = match &self.authority {
            Some(authority) => config.tls_config(tls::trusting(authority)?),
            None => config,
        };
        #[cfg(not(feature = "schema-registry-tls"))]
        if let Some(Authority::InFile(file)) = &self.authority {
            return Err(needs_tls(&format!("its authority, {}", file.display())));
        }
        Ok(CachedSchemaRegistryClient::asking(Http::new(
            config.build().into(),
            self.addresses,
            self.authorization,
            self.request_timeout,
            self.deadline,
            self.clock,
        )))
    }
}

fn check_address(address: &str) -> Result<()> {
    match address.split_once("://") {
        Some(("http", _)) => Ok(()),
        Some(("https", _)) if cfg!(feature = "schema-registry-tls") => Ok(()),
        Some(("https", _)) => Err(needs_tls(address)),
        _ => Err(Error::invalid(format!(
            "{address:?} is no address of a schema registry: it begins with http:// or https://"
        ))),
    }
}

fn needs_tls(what: &str) -> Error {
    let remedy = "turn on the feature `schema-registry-tls` of millstream";
    Error::invalid(format!("the schema registry needs TLS ({what}): {remedy}"))
}

#[cfg(feature = "schema-registry-tls")]
mod tls {
    use std::borrow::Cow;

    use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

    use super::Authority;
    use crate::{Error, Result};

    pub(super) fn trusting(authority: &Authority) -> Result<TlsConfig> {
        let pem = match authority {
            Authority::Here(pem) => Cow::Borrowed(pem),
            Authority::InFile(file) => Cow::Owned(std::fs::read(file).map_err(|error| {
                let file = file.display();
                Error::invalid(format!(
                    "{file}, the certificate of the schema registry's authority, cannot be read"
                ))
                .with_source(error)
            })?),
        };
        let no_pem = || Error::invalid("the certificate of the schema registry's authority is no PEM");
        let mut roots: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(root) = item.map_err(|error| no_pem().with_source(error))? {
                roots.push(root);
            }
        }
        if roots.is_empty() {
            return Err(no_pem());
        }
        Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build())
    }
}
