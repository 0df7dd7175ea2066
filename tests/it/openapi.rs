//! The API's description, served: as a document and as a page.

use axum::http::Method;
use eventyard::api::description;

use crate::harness::{TestBus, send};

#[tokio::test]
async fn the_description_is_served() {
    let bus = TestBus::start().await;
    let answer = bus.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json(), *description());
    assert_eq!(answer.json()["openapi"], "3.1.0");
}

#[tokio::test]
async fn the_page_asks_nobody_else() {
    let bus = TestBus::start().await;
    let answer = bus.get("/docs").await;
    assert_eq!(answer.status, 200);
    let policy = answer.header("content-security-policy");
    for wanted in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
    ] {
        assert!(policy.contains(wanted), "{policy}");
    }
    let page = answer.text();
    for elsewhere in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    // What stands in the frame is what the policy lets in: nothing is left to fill.
    assert!(!page.contains("/*style*/") && !page.contains("/*script*/"));
    assert_eq!(page.matches("</script>").count(), 1);
    assert_eq!(page.matches("</style>").count(), 1);
}

#[tokio::test]
async fn both_have_a_head() {
    let bus = TestBus::start().await;
    for path in ["/openapi.json", "/docs"] {
        let answer = send(bus.request(Method::HEAD, path)).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.is_empty(), "{path}");
    }
}
