//! HTTP/1.1 as both sides speak it: hosts, lists in headers, which headers go on, and for whom a request was made. Knows requests and answers, but
//! no pool, no session and no socket.

pub(crate) mod backend_headers;
pub(crate) mod client_cert;
pub(crate) mod cookies;
pub(crate) mod denial;
pub(crate) mod forwarding;
pub(crate) mod head;
pub(crate) mod header_case;
pub(crate) mod header_rules;
pub(crate) mod hop_by_hop;
pub(crate) mod hostname;
pub(crate) mod http2_goodbye;
pub(crate) mod onward;
pub(crate) mod replay_request;
pub(crate) mod token_list;
