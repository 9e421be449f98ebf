//! Profiles of known protocols, as users may write them themselves.

/// Names and files (TOML, as in a configuration).
pub const BUILTIN: [(&str, &str); 5] = [
    ("graphql-transport-ws", include_str!("../../builtin/graphql-transport-ws.toml")),
    ("graphql-ws", include_str!("../../builtin/graphql-ws.toml")),
    ("ocpp", include_str!("../../builtin/ocpp.toml")),
    ("json-rpc", include_str!("../../builtin/json-rpc.toml")),
    ("rpc-websockets", include_str!("../../builtin/rpc-websockets.toml")),
];
