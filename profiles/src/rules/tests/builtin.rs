//! The built-in profiles, by what is said in real sessions.

use super::reader;
use super::talk::{D, Linked, Repeat, Step, Talk, U, ready};
use crate::rules::{BUILTIN, RuleMachine};

fn follow(name: &str, steps: &[Step]) {
    let (_, text) = BUILTIN.iter().find(|(other, _)| *other == name).expect("a built-in profile");
    Talk::new(RuleMachine::new(ready(&reader::profile(text)))).follow(steps);
}

#[test]
fn each_is_written_under_its_name_and_ready() {
    for (name, text) in BUILTIN {
        let source = reader::profile(text);
        assert_eq!(source.name, name);
        assert!(!source.up.is_empty() && !source.down.is_empty(), "{name}");
        ready(&source);
    }
}

#[test]
fn graphql_transport_ws() {
    follow(
        "graphql-transport-ws",
        &[
            U(r#"{"type":"connection_init","payload":{"token":"x"}}"#, "keep 1, door, answer 2, waits"),
            D(r#"{"type":"connection_ack"}"#, "answer 2"),
            U(
                r#"{"id":"a","type":"subscribe","payload":{"query":"subscription { n }"}}"#,
                "keep 3, standing",
            ),
            U(
                r#"{"id":"b","type":"subscribe","payload":{"query":"{ \"type\": \"complete\" }"}}"#,
                "keep 4, standing",
            ),
            D(r#"{"id":"a","type":"next","payload":{"data":{"id":"b","type":"complete"}}}"#, "push"),
            D(r#"{"id":"b","type":"complete"}"#, "end 4"),
            D(r#"{"type":"ping"}"#, "beat"),
            U(r#"{"type":"pong"}"#, "beat"),
            U(r#"{"type":"ping","payload":{}}"#, r#"beat | said {"type":"pong"}"#),
            Linked,
            Repeat(3, None),
            D(r#"{"type":"connection_ack","payload":{}}"#, "answer 2"),
            D(r#"{"payload":[{"message":"no"}],"type":"error","id":"a"}"#, "end 3"),
            U(r#"{"id":"a","type":"complete"}"#, "retire 3"),
            U(r#"{"type":"unheard of"}"#, "tell"),
            U(r#"["type","subscribe"]"#, "tell"),
            U("", "tell"),
        ],
    );
}

#[test]
fn graphql_ws() {
    follow(
        "graphql-ws",
        &[
            U(r#"{"type":"connection_init","payload":{}}"#, "keep 1, door, answer 2, waits"),
            U(r#"{"id":"1","type":"start","payload":{"query":"{ n }"}}"#, "keep 3, standing"),
            D(r#"{"type":"connection_ack"}"#, "answer 2"),
            D(r#"{"type":"ka"}"#, "beat"),
            D(r#"{"type":"data","id":"1","payload":{"data":{}}}"#, "push"),
            U(r#"{"id":"1","type":"stop"}"#, "retire 3"),
            D(r#"{"type":"complete","id":"1"}"#, "end 3"),
            D(r#"{"type":"error","id":"1","payload":{}}"#, "end 3"),
            Linked,
            D(r#"{"type":"connection_error","payload":{"message":"expired"}}"#, "refusal 2"),
            U(r#"{"type":"connection_terminate"}"#, "tell"),
        ],
    );
}

#[test]
fn ocpp() {
    follow(
        "ocpp",
        &[
            U(r#"[2,"19223201","BootNotification",{"chargePointVendor":"V"}]"#, "ask 1"),
            D(r#"[3,"19223201",{"status":"Accepted","interval":300}]"#, "answer 1"),
            D(r#"[2,"19223201","Reset",{"type":"Soft"}]"#, "asks 2"),
            U(r#"[3,"19223201",{"status":"Accepted"}]"#, "reply 2"),
            U(r#"[ 2, "7", "StartTransaction", {"connectorId":1} ]"#, "ask 3"),
            Linked,
            D(r#"[4,"7","InternalError","",{}]"#, "answer 3"),
            U(r#"[4,"5","NotSupported","",{}]"#, "reply 4"),
            U(r#"[5,"7","FormatViolation","",{}]"#, "tell"),
            U(r#"[6,"8","NotifyPeriodicEventStream",{}]"#, "tell"),
            D(r#"[6,"8","SetX",{}]"#, "push"),
            U("[2]", "tell"),
            U("[2,null]", "ask 5"),
        ],
    );
}

#[test]
fn ethereum() {
    follow(
        "json-rpc",
        &[
            U(r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#, "ask 1"),
            U(
                r#"{"id":2,"method":"eth_subscribe","params":["newHeads"]}"#,
                "keep 2, standing, answer 3, waits",
            ),
            D(r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#, "answer 1"),
            D(r#"{"jsonrpc":"2.0","id":2,"result":"0xaa"}"#, "answer 3"),
            D(r#"{"method":"eth_subscription","params":{"subscription":"0xaa","result":{}}}"#, "push"),
            Linked,
            Repeat(2, None),
            D(r#"{"id":2,"result":"0xbb"}"#, "answer 3"),
            D(
                r#"{"method":"eth_subscription","params":{"result":{"a":[1]}, "subscription":"0xbb"}}"#,
                r#"push | instead {"method":"eth_subscription","params":{"result":{"a":[1]}, "subscription":"0xaa"}}"#,
            ),
            // What only looks like it is left alone.
            U(r#"{"id":3,"method":"eth_getBlockByNumber","params":["0xaa",false]}"#, "ask 4"),
            U(
                r#"{"id":"x","method":"eth_unsubscribe","params":["0xaa"]}"#,
                concat!(
                    r#"retire 2, answer 5 | instead {"id":"x","method":"eth_unsubscribe","params":["0xbb"]}"#,
                    r#" | said {"jsonrpc":"2.0","id":"x","result":true}"#
                ),
            ),
            D(r#"{"id":"x","result":true}"#, "answer 5"),
            D(r#"{"params":{"subscription":"0xbb"},"method":"eth_subscription"}"#, "push"),
            U(r#"{"id":5,"method":"eth_unsubscribe","params":["0xaa"]}"#, "ask 6"),
            D(r#"{"id":5,"error":{"code":-32000,"message":"subscription not found"}}"#, "refusal 6"),
            U(r#"{"method":"notifications/x","params":["0xaa"]}"#, "tell"),
            U(r#"[{"id":7,"method":"a"},{"id":8,"method":"b"}]"#, "tell"),
            U(r#"{"id":null,"method":"a"}"#, "tell"),
            D(r#"{"id":1,"method":"wallet_ask"}"#, "asks 7"),
            U(r#"{"id":1,"result":{"ok":true}}"#, "reply 7"),
        ],
    );
}

#[test]
fn a_client_may_give_each_call_the_same_id() {
    follow(
        "json-rpc",
        &[
            U(
                r#"{"id":1,"method":"eth_subscribe","params":["newHeads"]}"#,
                "keep 1, standing, answer 2, waits",
            ),
            D(r#"{"id":1,"result":"0xa"}"#, "answer 2"),
            U(
                r#"{"id":1,"method":"eth_subscribe","params":["logs",{}]}"#,
                "keep 3, standing, answer 2, waits",
            ),
            D(r#"{"id":1,"result":"0xb"}"#, "answer 2"),
            U(r#"{"id":1,"method":"eth_chainId","params":[]}"#, "ask 2"),
            D(r#"{"id":1,"result":"0xa"}"#, "answer 2"),
        ],
    );
}

#[test]
fn solana() {
    follow(
        "json-rpc",
        &[
            U(r#"{"id":1,"method":"accountSubscribe","params":["A"]}"#, "keep 1, standing, answer 2, waits"),
            D(r#"{"result":23784,"id":1}"#, "answer 2"),
            U(
                r#"{"id":2,"method":"signatureSubscribe","params":["S"]}"#,
                "keep 3, standing, answer 4, waits",
            ),
            D(r#"{"result":24006,"id":2}"#, "answer 4"),
            Linked,
            D(r#"{"result":1,"id":1}"#, "answer 2"),
            D(r#"{"result":23784,"id":2}"#, "answer 4"),
            D(
                r#"{"method":"accountNotification","params":{"result":{"value":{}},"subscription":1}}"#,
                r#"push | instead {"method":"accountNotification","params":{"result":{"value":{}},"subscription":23784}}"#,
            ),
            D(
                r#"{"method":"signatureNotification","params":{"result":{"value":"receivedSignature"},"subscription":23784}}"#,
                r#"push | instead {"method":"signatureNotification","params":{"result":{"value":"receivedSignature"},"subscription":24006}}"#,
            ),
            D(
                r#"{"method":"signatureNotification","params":{"result":{"value":{"err":null}},"subscription":23784}}"#,
                r#"end 3 | instead {"method":"signatureNotification","params":{"result":{"value":{"err":null}},"subscription":24006}}"#,
            ),
            U(
                r#"{"id":3,"method":"accountUnsubscribe","params":[23784]}"#,
                concat!(
                    r#"retire 1, answer 5 | instead {"id":3,"method":"accountUnsubscribe","params":[1]}"#,
                    r#" | said {"jsonrpc":"2.0","id":3,"result":true}"#
                ),
            ),
        ],
    );
}

#[test]
fn rpc_websockets() {
    follow(
        "rpc-websockets",
        &[
            U(
                r#"{"jsonrpc":"2.0","method":"rpc.login","params":{"u":"x"},"id":1}"#,
                "keep 1, door, answer 2, waits",
            ),
            D(r#"{"jsonrpc":"2.0","result":true,"id":1}"#, "answer 2"),
            U(
                r#"{"jsonrpc":"2.0","method":"rpc.on","params":["news"],"id":2}"#,
                "keep 3, standing, answer 4",
            ),
            D(r#"{"jsonrpc":"2.0","result":{"news":"ok"},"id":2}"#, "answer 4"),
            D(r#"{"notification":"news","params":[1]}"#, "push"),
            U(r#"{"jsonrpc":"2.0","method":"sum","params":[5,3],"id":3}"#, "ask 5"),
            U(
                r#"{"jsonrpc":"2.0","method":"rpc.off","params":["news"],"id":4}"#,
                r#"retire 3, answer 6 | said {"jsonrpc":"2.0","result":{"news":"ok"},"id":4}"#,
            ),
            Linked,
            D(r#"{"jsonrpc":"2.0","error":{"code":-32604,"message":"no"},"id":1}"#, "refusal 2"),
            D(r#"{"jsonrpc":"2.0","result":8,"id":3}"#, "answer 5"),
            U(r#"{"jsonrpc":"2.0","method":"log","params":[]}"#, "tell"),
        ],
    );
}
