//! When the registry is asked, how often, and what becomes of no answer, or a wrong one.

use super::*;

#[test]
fn nobody_is_asked_for_a_record() -> Result<()> {
    let stub = stub(|asked| match asked {
        "POST /subjects/copies%2Dvalue/versions" => (200, json!({ "id": 7 })),
        "GET /schemas/ids/3" => (200, json!({ "schema": ORDER_V1 })),
        _ => no_subject(),
    })?;
    let topology =
        copying("orders", "copies")?.with_schema_registry(SchemaRegistry::new(client_at(&stub.url)?));
    let driver = TopologyTestDriver::new(topology)?;
    stub.asked.lock().clear();
    let orders = driver.input_topic::<String, OrderV2>("orders");
    for _ in 0..100 {
        orders.pipe_raw(Some(b"1"), Some(b"\0\0\0\0\x03\x0capples"))?;
    }
    assert_eq!(*stub.asked.lock(), ["GET /schemas/ids/3"], "once, for the schema that was not met before");
    let copies = driver
        .output_topic_with_serdes("copies", String::serde(), Vec::<u8>::serde())
        .read_key_values_to_list()?;
    assert_eq!(copies.len(), 100);
    assert_eq!(copies[99].1, b"\0\0\0\0\x07\x0capples\x02");
    Ok(())
}

/// Copies orders, and passes over those that fail. What it asked when it started is forgotten.
fn copying_or_skipping(stub: &Stub) -> Result<TopologyTestDriver> {
    let topology =
        copying("orders", "copies")?.with_schema_registry(SchemaRegistry::new(client_at(&stub.url)?));
    let settings = Settings { handlers: Handlers::all(Reaction::Skip), ..Settings::new("none") };
    let driver = TopologyTestDriver::builder(topology).settings(settings).build()?;
    stub.asked.lock().clear();
    Ok(driver)
}

#[test]
fn nobody_is_asked_for_each_record_whose_schema_there_is_not() -> Result<()> {
    let stub = stub(|asked| match asked {
        "POST /subjects/copies%2Dvalue/versions" => (200, json!({ "id": 7 })),
        "GET /schemas/ids/3" => (404, json!({ "error_code": 40403, "message": "Schema 3 not found." })),
        _ => no_subject(),
    })?;
    let driver = copying_or_skipping(&stub)?;
    for _ in 0..100 {
        let orders = driver.input_topic::<String, OrderV2>("orders");
        orders.pipe_raw(Some(b"1"), Some(b"\0\0\0\0\x03{\"sku\":\"apples\",\"quantity\":1}"))?;
    }
    assert_eq!(driver.skipped_records(), 100);
    assert_eq!(*stub.asked.lock(), ["GET /schemas/ids/3"]);
    Ok(())
}

/// What has nothing to do with the record: a token that expired, the login page of a proxy, an address that is not the registry's any more.
#[test]
fn a_registry_that_refuses_later_costs_no_record_and_is_asked_once() -> Result<()> {
    for (status, body, said) in [
        (401, "{}", "refuses access"),
        (403, "<html>Forbidden</html>", "refuses access"),
        (200, "<html>Log in</html>", "is no schema registry"),
        (404, r#"{"message": "no such route"}"#, "to tell schema 3"),
        (422, r#"{"error_code": 42201, "message": "no"}"#, "to tell schema 3"),
    ] {
        let stub = stub_of_text(move |asked| match asked {
            "POST /subjects/copies%2Dvalue/versions" => (200, json!({ "id": 7 }).to_string()),
            "GET /schemas/ids/3" => (status, body.to_owned()),
            _ => (404, no_subject().1.to_string()),
        })?;
        let driver = copying_or_skipping(&stub)?;
        let orders = driver.input_topic::<String, OrderV2>("orders");
        let error = orders.pipe_raw(Some(b"1"), Some(b"\0\0\0\0\x03\x0capples"));
        let error = error.err().context("no handler is asked")?;
        ensure!(error.kind() == ErrorKind::Fatal && error.to_string().contains(said), "{error}");
        assert_eq!(driver.skipped_records(), 0);
        assert_eq!(*stub.asked.lock(), ["GET /schemas/ids/3"]);
    }
    Ok(())
}

#[test]
fn a_language_that_is_not_known_is_the_fault_of_the_record() -> Result<()> {
    let stub = stub(|asked| match asked {
        "POST /subjects/copies%2Dvalue/versions" => (200, json!({ "id": 7 })),
        "GET /schemas/ids/3" => (200, json!({ "schema": "struct Order {}", "schemaType": "THRIFT" })),
        _ => no_subject(),
    })?;
    let driver = copying_or_skipping(&stub)?;
    for _ in 0..10 {
        driver.input_topic::<String, OrderV2>("orders").pipe_raw(Some(b"1"), Some(b"\0\0\0\0\x03\x02a"))?;
    }
    assert_eq!(driver.skipped_records(), 10);
    assert_eq!(*stub.asked.lock(), ["GET /schemas/ids/3"]);
    Ok(())
}

#[test]
fn a_registry_that_stumbles_is_asked_again() -> Result<()> {
    let tries = AtomicUsize::new(0);
    let stub = stub(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => (503, json!({ "error_code": 50302, "message": "the leader is not known" })),
        1 => (429, json!({ "error_code": 429, "message": "too many" })),
        _ => (200, json!({ "id": 5 })),
    })?;
    let id = client_at(&stub.url)?.register("orders-value", &Schema::new(SchemaKind::Avro, ORDER_V1))?;
    assert_eq!(id.get(), 5);
    assert_eq!(stub.asked.lock().len(), 3);
    Ok(())
}

#[test]
fn of_several_addresses_one_that_answers_is_enough() -> Result<()> {
    let stub = stub(|_| (200, json!({ "id": 5 })))?;
    let client = client_at(&format!("http://127.0.0.1:1/, {}/", stub.url))?;
    assert_eq!(client.register("orders-value", &Schema::new(SchemaKind::Avro, ORDER_V1))?.get(), 5);
    Ok(())
}

#[test]
fn an_address_that_swallows_what_it_is_asked_leaves_the_others_time_and_is_asked_last_from_then_on()
-> Result<()> {
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    silent.set_nonblocking(true)?;
    let stub = stub(|asked| match asked {
        "GET /schemas/ids/3" => (200, json!({ "schema": ORDER_V1 })),
        _ => (200, json!({ "id": 5 })),
    })?;
    let urls = format!("http://{},{}", silent.local_addr()?, stub.url);
    let client = CachedSchemaRegistryClient::builder(&urls).deadline(Duration::from_secs(2)).build()?;
    assert_eq!(client.register("orders-value", &Schema::new(SchemaKind::Avro, ORDER_V2))?.get(), 5);
    let asked_silent = || std::iter::from_fn(|| silent.accept().ok()).count();
    assert_eq!(asked_silent(), 1, "it is the first of the addresses");
    client.schema(millstream::SchemaId::new(3))?;
    assert_eq!(asked_silent(), 0, "the other one answered last");
    Ok(())
}

#[test]
fn a_registry_that_does_not_answer_is_waited_for_until_the_deadline() -> Result<()> {
    // It takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let urls = [format!("http://{}", silent.local_addr()?), "http://127.0.0.1:1".to_owned()];
    for url in urls {
        let start = Instant::now();
        let client = CachedSchemaRegistryClient::builder(&url)
            .request_timeout(Duration::from_millis(300))
            .deadline(Duration::from_millis(800))
            .build()?;
        let topology =
            copying("orders", "copies")?.with_schema_registry(SchemaRegistry::new(Arc::new(client)));
        let error = TopologyTestDriver::new(topology).err().context("nobody answers")?;
        assert_eq!(error.kind(), ErrorKind::Retry);
        ensure!(
            error.to_string().contains(&format!("the schema registry at {url} does not answer")),
            "{error}"
        );
        ensure!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    }
    Ok(())
}

#[test]
fn what_is_no_registry_is_named_as_such() -> Result<()> {
    let page = stub_of_text(|_| (200, "<html>Welcome</html>".to_owned()))?;
    let error = client_at(&page.url)?.latest("orders-value").err().context("it is a web page")?.to_string();
    ensure!(error.contains("is no schema registry") && error.contains(&page.url), "{error}");
    let other = stub(|_| (200, json!({ "hello": "there" })))?;
    let error = client_at(&other.url)?.latest("orders-value").err().context("it has no id")?.to_string();
    ensure!(error.contains("its answer has no id"), "{error}");
    let proxy = stub(|_| (404, json!({ "message": "no such route" })))?;
    let refused = client_at(&proxy.url)?.latest("orders-value");
    ensure!(
        matches!(refused, Err(RegistryError::Refused { status: 404, .. })),
        "no code of a registry: {refused:?}"
    );
    for wrong in ["", "registry:8081", "ftp://registry"] {
        ensure!(CachedSchemaRegistryClient::builder(wrong).build().is_err(), "{wrong:?}");
    }
    Ok(())
}
