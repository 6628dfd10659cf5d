//! The routes, asked as a client would ask them; and the server itself over sockets.

use std::net::TcpStream;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use super::HttpServer;
use super::routes::{App, router};
use super::test_app::{STOCK, TestApp};
use crate::error::ErrorKind;
use crate::runtime::{ClientState, ThreadState};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn request(runtime: &Runtime, app: &TestApp, method: Method, path: &str) -> Answer {
    let router = router(App { shared: Arc::clone(&app.shared), metrics: Arc::clone(&app.metrics) });
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    runtime.block_on(async {
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    })
}

fn get(app: &TestApp, path: &str) -> Answer {
    request(&runtime(), app, Method::GET, path)
}

#[track_caller]
fn json_of(app: &TestApp, path: &str) -> Value {
    let answer = get(app, path);
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.json()
}

/// The answer to a request that must fail with this status; it says why.
#[track_caller]
fn refusal(app: &TestApp, path: &str, status: StatusCode) -> Value {
    let answer = get(app, path);
    assert_eq!(answer.status, status, "{path}: {}", answer.body);
    assert_eq!(answer.headers.contains_key(header::RETRY_AFTER), status == StatusCode::SERVICE_UNAVAILABLE);
    let json = answer.json();
    assert!(json["error"].is_string(), "{json}");
    json
}

#[track_caller]
fn keys(app: &TestApp, path: &str) -> Vec<Value> {
    json_of(app, path)["rows"].as_array().unwrap().iter().map(|row| row["key"].clone()).collect()
}

fn encoded(key: &str) -> String {
    key.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn the_index_names_every_route() {
    let app = TestApp::running();
    let index = json_of(&app, "/");
    assert_eq!((&index["application_id"], &index["state"]), (&json!("shop"), &json!("running")));
    for route in index["routes"].as_array().unwrap() {
        let path = route["path"].as_str().unwrap().replace("{name}", "stock").replace("{key}", "apples");
        json_or_text_is_served(&app, &path);
    }
}

#[track_caller]
fn json_or_text_is_served(app: &TestApp, path: &str) {
    let answer = get(app, path);
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    assert!(!answer.body.is_empty());
}

#[test]
fn stores_are_listed_with_what_is_here() {
    let app = TestApp::running();
    let position = json!({ "stock-movements": { "0": 42, "1": 42 } });
    let json = json_of(&app, "/stores");
    assert_eq!(
        json["stores"][2],
        json!({
            "name": "stock", "kind": "key-value", "key_type": "alloc::string::String", "value_type": "i64",
            "partitions": { "here": 2, "of": 2 }, "approximate_entries": 6, "position": position,
        })
    );
    assert_eq!(json["stores"][0]["partitions"], json!({ "here": 1, "of": 2 }));
    assert_eq!(json["stores"][1]["name"], "prices");
    assert!(json["stores"][1]["unreadable"].as_str().unwrap().contains("restoring"), "{json}");
}

#[test]
fn a_row_is_found_by_its_key_whatever_it_is_made_of() {
    let app = TestApp::running();
    for (sku, quantity) in STOCK {
        let row = json_of(&app, &format!("/stores/stock/{}", encoded(sku)));
        assert_eq!((&row["store"], &row["key"]), (&json!("stock"), &json!(sku)));
        assert_eq!((&row["value"], &row["timestamp"]), (&json!(quantity), &json!(1_700)));
        assert!(row["position"]["stock-movements"].is_object(), "{row}");
    }
}

#[test]
fn a_versioned_store_is_asked_for_what_was() {
    let app = TestApp::running();
    let number = keys(&app, "/stores/orders")[0].to_string();
    let newest = json_of(&app, &format!("/stores/orders/{number}"));
    assert_eq!((&newest["value"]["quantity"], &newest["timestamp"]), (&json!(1), &json!(1_800)));
    let then = json_of(&app, &format!("/stores/orders/{number}?as_of=1799"));
    assert_eq!((&then["value"]["quantity"], &then["timestamp"]), (&json!(5), &json!(1_000)));
    assert_eq!(then["valid_to"], json!(1_800));
    let now = json_of(&app, &format!("/stores/orders/{number}?as_of=1800"));
    assert_eq!((&now["timestamp"], &now["valid_to"]), (&json!(1_800), &Value::Null));
    let before = refusal(&app, &format!("/stores/orders/{number}?as_of=999"), StatusCode::NOT_FOUND);
    assert!(before["error"].as_str().unwrap().contains("as of 999"), "{before}");
}

#[test]
fn windows_of_a_key_are_found_by_time() {
    let app = TestApp::running();
    let counts = |path: &str| -> Vec<Value> {
        let answer = json_of(&app, &format!("/stores/views-per-minute/{path}"));
        answer["rows"].as_array().unwrap().iter().map(|row| row["value"].clone()).collect()
    };
    assert_eq!(counts("apples"), [7, 8, 9]);
    assert_eq!(counts("apples?from=60000&to=180000"), [8, 9], "both ends are included");
    assert_eq!(counts("apples?reverse=true&limit=2"), [9, 8]);
    assert_eq!(counts(&encoded("äpfel")), [1]);
    assert_eq!(counts("cherries"), Vec::<Value>::new());
    let answer = json_of(&app, "/stores/views-per-minute/apples?limit=1");
    let row = json!({ "key": { "key": "apples", "start": 0, "end": 60_000 }, "value": 7, "timestamp": 0 });
    assert_eq!((&answer["rows"][0], &answer["truncated"]), (&row, &json!(true)));
    assert!(answer["position"]["stock-movements"].is_object(), "{answer}");
    refusal(&app, "/stores/views-per-minute/apples?from=noon", StatusCode::BAD_REQUEST);
    refusal(&app, "/stores/views-per-minute?prefix=app", StatusCode::BAD_REQUEST);
    refusal(&app, "/stores/stock/apples?from=0", StatusCode::BAD_REQUEST);
}

#[test]
fn windows_of_all_keys_are_found_by_time() {
    let app = TestApp::running();
    let starts = |path: &str| -> Vec<(Value, Value)> {
        keys(&app, path).into_iter().map(|key| (key["key"].clone(), key["start"].clone())).collect()
    };
    let expected = [("apples", 60_000), ("pears", 60_000), ("äpfel", 120_000)];
    let expected = expected.map(|(key, start)| (json!(key), json!(start)));
    assert_eq!(starts("/stores/views-per-minute?from=60000&to=120000"), expected);
    assert_eq!(starts("/stores/views-per-minute").len(), 5);
    assert_eq!(json_of(&app, "/stores")["stores"][3]["kind"], "window");
}

#[test]
fn a_key_that_does_not_exist_is_404_with_the_position() {
    let app = TestApp::running();
    let json = refusal(&app, "/stores/stock/cherries", StatusCode::NOT_FOUND);
    assert!(json["error"].as_str().unwrap().contains("no key \"cherries\""), "{json}");
    assert!(json["position"]["stock-movements"].is_object(), "{json}");
}

#[test]
fn a_key_of_another_type_is_400_with_the_type() {
    let app = TestApp::running();
    let json = refusal(&app, "/stores/orders/apples", StatusCode::BAD_REQUEST);
    assert!(json["error"].as_str().unwrap().contains("\"apples\" is no `u64`"), "{json}");
    refusal(&app, "/stores/stock/%FF", StatusCode::BAD_REQUEST);
}

#[test]
fn an_unknown_store_is_404_and_the_known_ones_are_named() {
    let app = TestApp::running();
    for path in ["/stores/stok", "/stores/stok/apples", "/stores/%00?limit=1"] {
        let json = refusal(&app, path, StatusCode::NOT_FOUND);
        assert!(json["error"].as_str().unwrap().contains("orders, prices, stock"), "{json}");
    }
}

#[test]
fn what_restores_or_lives_elsewhere_is_503() {
    let app = TestApp::running();
    let json = refusal(&app, "/stores/prices", StatusCode::SERVICE_UNAVAILABLE);
    assert!(json["remedy"].as_str().unwrap().contains("/health/ready"), "{json}");
    refusal(&app, "/stores/prices/00ff", StatusCode::SERVICE_UNAVAILABLE);

    let statuses = (0..20).map(|number| get(&app, &format!("/stores/orders/{number}")).status);
    let here = statuses.filter(|status| match *status {
        StatusCode::OK => true,
        StatusCode::SERVICE_UNAVAILABLE => false,
        other => panic!("{other}"),
    });
    let here = here.count();
    assert!(0 < here && here < 20, "{here} of 20 keys are in the one partition of two that is here");
}

#[test]
fn a_store_whose_task_was_closed_is_503() {
    let mut app = TestApp::running();
    app.close_stores();
    for path in ["/stores/stock", "/stores/stock/apples"] {
        refusal(&app, path, StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[test]
fn scans_are_in_byte_order_and_bounded() {
    let app = TestApp::running();
    let all = ["apples", "apples/green", "pears", "plums", "quinces?", "Äpfel 100%"];
    assert_eq!(keys(&app, "/stores/stock"), all);
    assert_eq!(keys(&app, "/stores/stock?reverse=true&limit=2"), ["Äpfel 100%", "quinces?"]);
    assert_eq!(keys(&app, "/stores/stock?from=apples/green&to=plums"), ["apples/green", "pears", "plums"]);
    assert_eq!(keys(&app, "/stores/stock?to=apples"), ["apples"]);
    assert_eq!(keys(&app, "/stores/stock?from=plums&to=apples"), Vec::<Value>::new());
    assert_eq!(keys(&app, "/stores/stock?prefix=p"), ["pears", "plums"]);
    assert_eq!(keys(&app, "/stores/stock?prefix=%C3%84pfel+100%25"), ["Äpfel 100%"]);

    let json = json_of(&app, "/stores/stock?limit=6");
    assert_eq!(json["truncated"], false);
    assert_eq!(json["partitions"], json!({ "here": 2, "of": 2 }));
    assert_eq!(json["position"], json!({ "stock-movements": { "0": 42, "1": 42 } }));
    assert_eq!(json["rows"][0], json!({ "key": "apples", "value": 3, "timestamp": 1_700 }));
    assert_eq!(json_of(&app, "/stores/stock?limit=5")["truncated"], true);

    let orders = json_of(&app, "/stores/orders?limit=1");
    assert_eq!(orders["rows"][0]["value"], json!({ "sku": "apples", "quantity": 1 }));
}

#[test]
fn a_parameter_that_makes_no_sense_is_400_and_named() {
    let app = TestApp::running();
    let cases = [
        ("/stores/stock?limit=many", "limit"),
        ("/stores/stock?limit=0", "limit"),
        ("/stores/stock?limit=10001", "limit"),
        ("/stores/stock?limit=-1", "limit"),
        ("/stores/stock?reverse=maybe", "reverse"),
        ("/stores/stock?revers=true", "revers"),
        ("/stores/stock?from=a&from=b", "from"),
        ("/stores/stock?prefix=a&from=b", "prefix"),
        ("/stores/orders?from=apples", "from"),
        ("/stores/orders?to=-1", "to"),
        ("/stores/orders?prefix=x", "prefix"),
        ("/stores/orders/7?as_of=soon", "as_of"),
        ("/stores/orders/7?at=1800", "at"),
        ("/stores/stock/apples?as_of=1800", "keeps no versions"),
        ("/topology?format=svg", "format"),
        ("/topology?form=dot", "form"),
    ];
    for (path, parameter) in cases {
        let json = refusal(&app, path, StatusCode::BAD_REQUEST);
        assert!(json["error"].as_str().unwrap().contains(parameter), "{path}: {json}");
    }
}

#[test]
fn queries_and_requests_are_counted() {
    let app = TestApp::running();
    for path in [
        "/stores/stock/apples",
        "/stores/stock/none",
        "/stores/stock",
        "/stores/stock?to=b",
        "/stores/stock?prefix=p",
        "/stores",
        "/no/such/route",
    ] {
        get(&app, path);
    }
    let text = get(&app, "/metrics").body;
    for (kind, count) in [("get", 2), ("all", 1), ("range", 1), ("prefix", 1), ("count", 1)] {
        let series = format!(
            "millstream_queries_total{{store=\"stock\",kind=\"{kind}\",application_id=\"shop\"}} {count}\n"
        );
        assert!(text.contains(&series), "{series} in {text}");
    }
    for (route, status, count) in [
        ("/stores/{name}/{key}", 200, 1),
        ("/stores/{name}/{key}", 404, 1),
        ("/stores/{name}", 200, 3),
        ("other", 404, 1),
    ] {
        let series = format!("{{route=\"{route}\",status=\"{status}\",application_id=\"shop\"}} {count}\n");
        assert!(text.contains(&format!("millstream_http_requests_total{series}")), "{series} in {text}");
    }
}

#[test]
fn the_topology_is_shown_in_four_formats() {
    let app = TestApp::running();
    let topology = &app.shared.topology;
    let cases = [
        ("/topology", "text/plain; charset=utf-8", topology.describe()),
        ("/topology?format=text", "text/plain; charset=utf-8", topology.describe()),
        ("/topology?format=dot", "text/vnd.graphviz; charset=utf-8", topology.to_dot()),
        ("/topology?format=mermaid", "text/plain; charset=utf-8", topology.to_mermaid()),
        ("/topology?format=json", "application/json", topology.to_json().to_string()),
    ];
    for (path, content_type, body) in cases {
        let answer = get(&app, path);
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers[header::CONTENT_TYPE], content_type, "{path}");
        assert_eq!(answer.body, body, "{path}");
    }
    let stores = ["stock", "orders", "prices", "views-per-minute"];
    assert_eq!(
        topology.to_json(),
        json!({ "subtopologies": [{ "id": 0, "is_global": false, "stores": stores, "nodes": [
            { "name": "movements", "kind": "source", "topics": ["stock-movements"], "children": ["count"] },
            { "name": "count", "kind": "processor", "stores": stores, "children": ["levels"] },
            { "name": "levels", "kind": "sink", "topic": "stock-levels", "children": [] },
        ]}]})
    );
}

#[test]
fn health_follows_the_state() {
    let app = TestApp::created().with_snapshots();
    let health = |app: &TestApp| (get(app, "/health/live").status, get(app, "/health/ready").status);
    let (well, not) = (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health(&app), (well, not), "created");
    app.shared.move_to(ClientState::Rebalancing);
    assert_eq!(health(&app), (well, not), "rebalancing");
    assert_eq!(
        get(&app, "/health/ready").json(),
        json!({ "state": "rebalancing", "restoring": [{
            "task": "0_1", "store": "prices", "from": 100, "next": 400, "end": 1000, "remaining": 600, "records": 250,
        }]})
    );
    app.shared.move_to(ClientState::Running);
    assert_eq!(health(&app), (well, well), "running");
    app.shared.move_to(ClientState::PendingShutdown);
    assert_eq!(health(&app), (well, not), "pending shutdown");
    app.shared.move_to(ClientState::NotRunning);
    assert_eq!(health(&app), (not, not), "not running");

    let app = TestApp::running();
    app.shared.thread_is(&app.shared.threads.places()[1], ThreadState::Failed);
    assert_eq!(health(&app), (not, not), "error");
}

#[test]
fn tasks_are_shown_by_thread() {
    let app = TestApp::running().with_snapshots();
    app.shared.thread_is(&app.shared.threads.places()[1], ThreadState::Failed);
    let json = json_of(&app, "/tasks");
    assert_eq!(json["threads"][1], json!({ "name": "shop-StreamThread-2", "state": "failed", "tasks": [] }));
    assert_eq!(
        json["threads"][0]["tasks"][0],
        json!({
            "id": "0_0", "state": "running", "records_processed": 990, "stream_time": 1_700_000_000_250_i64,
            "partitions": [{
                "topic": "stock-movements", "partition": 0, "next_offset": 42, "lag": 8, "buffered": 5,
            }],
            "restores": [],
        })
    );
    assert_eq!(json["threads"][0]["tasks"][1]["restores"][0]["remaining"], 600);
    assert_eq!(
        json["standbys"],
        json!([{
            "id": "0_2",
            "stores": [{
                "task": "0_2", "store": "stock", "from": 0, "next": 70, "end": 75, "remaining": 5, "records": 60,
            }],
        }])
    );
    assert_eq!(json["promotions"], 3);
}

#[test]
fn metrics_are_served_as_prometheus_wants_them() {
    let answer = get(&TestApp::running(), "/metrics");
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4");
    assert!(answer.body.contains("millstream_client_state{state=\"running\",application_id=\"shop\"} 1\n"));
}

#[test]
fn what_is_not_served_is_said_in_json() {
    let app = TestApp::running();
    refusal(&app, "/store/stock", StatusCode::NOT_FOUND);
    let answer = request(&runtime(), &app, Method::DELETE, "/stores/stock/apples");
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.json()["error"].is_string());
    assert_eq!(request(&runtime(), &app, Method::HEAD, "/health/live").status, StatusCode::OK);
}

/// Characters that mean something in an address, and some that do not.
fn piece() -> impl Strategy<Value = String> {
    const FIXED: [&str; 14] = [
        "stores",
        "stock",
        "orders",
        "prices",
        "views-per-minute",
        "topology",
        "apples",
        "..",
        "",
        "7",
        "-1",
        "9223372036854775807",
        "true",
        "apples@0/60000",
    ];
    prop_oneof![
        prop::sample::select(&FIXED[..]).prop_map(str::to_string),
        prop::collection::vec(any::<u8>(), 0..6)
            .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02x}")).collect()),
        "[a-z0-9%+=&;:@!$'()*,~{}|^-]{0,8}".prop_map(String::from),
    ]
}

fn address() -> impl Strategy<Value = String> {
    const NAMES: [&str; 7] = ["from", "to", "prefix", "reverse", "limit", "format", "as_of"];
    let name = prop_oneof![4 => prop::sample::select(&NAMES[..]).prop_map(str::to_string), 1 => piece()];
    let path = (any::<bool>(), prop::collection::vec(piece(), 0..4)).prop_map(|(to_store, mut path)| {
        if to_store {
            path.insert(0, "stores".to_string());
        }
        path
    });
    let parameters = prop::collection::vec((name, piece()), 0..4);
    (path, parameters).prop_map(|(path, parameters)| {
        let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("/{}?{}", path.join("/"), pairs.join("&"))
    })
}

#[test]
fn arbitrary_addresses_are_answered() {
    let (app, runtime) = (TestApp::running().with_snapshots(), runtime());
    proptest!(|(address in address())| {
        prop_assume!(address.parse::<axum::http::Uri>().is_ok());
        let answer = request(&runtime, &app, Method::GET, &address);
        let expected = [
            StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE,
        ];
        prop_assert!(expected.contains(&answer.status), "{address}: {} {}", answer.status, answer.body);
        if answer.status != StatusCode::OK {
            prop_assert!(answer.json()["error"].is_string() || address.starts_with("/health"), "{address}");
        }
    });
}

fn start(app: &TestApp, address: &str) -> crate::error::Result<HttpServer> {
    HttpServer::start(address, Arc::clone(&app.shared), Arc::clone(&app.metrics))
}

#[test]
fn a_client_is_answered_over_a_socket_until_the_server_is_dropped() {
    let app = TestApp::running();
    let server = start(&app, "127.0.0.1:0").unwrap();
    let address = server.address();
    assert_ne!(address.port(), 0);
    let agent = ureq::agent();
    let url = format!("http://{address}/stores/stock/{}", encoded("apples/green"));
    let row: Value = agent.get(&url).call().unwrap().body_mut().read_json().unwrap();
    assert_eq!(row["value"], -1);

    // A connection that was opened and never used must not hold the server up.
    let idle = TcpStream::connect(address).unwrap();
    drop(server);
    let refused = agent.get(&url).call();
    assert!(refused.is_err(), "{refused:?}");
    drop(idle);
    start(&app, &address.to_string()).expect("the address is free again");
}

#[test]
fn an_address_that_cannot_be_had_is_an_error_with_the_remedy() {
    let app = TestApp::running();
    let server = start(&app, "127.0.0.1:0").unwrap();
    let taken = server.address().to_string();
    for address in [taken.as_str(), "127.0.0.1", "127.0.0.1:99999", "192.0.2.1:8080", ""] {
        let Err(error) = start(&app, address) else { panic!("{address} must be refused") };
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let message = error.to_string();
        assert!(message.contains(address) && message.contains("MILLSTREAM_HTTP_ADDRESS"), "{message}");
    }
}

#[test]
fn a_server_may_be_started_and_dropped_inside_an_async_runtime() {
    let app = TestApp::running();
    runtime().block_on(async { drop(start(&app, "127.0.0.1:0").unwrap()) });
}
