//! Recorded from real packages on loopback. `>` is from the client, `<` from the server, `#` binary in hexadecimal, and
//! `new` another connection.

/// socket.io-client 4.8 and socket.io 4.8: acks both ways, attachments, namespaces, a refusal, who leaves first.
const JS_TO_JS: &str = r##"
new
greeting < 0{"sid":"CyoOu2Kw0w3ONG8rAAAA","upgrades":[],"pingInterval":700,"pingTimeout":500,"maxPayload":1000000}
keep > 40{"t":"x"}
let-in < 40{"sid":"h23VfMNAy3n8NqjPAAAA"}
push < 42["hello",1]
more < 452-["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]
more < #010203
push < #00000000
tell > 42["hello",1]
tell > 42["12",2]
ask > 420["echo","a","é\"\\ 𝄞"]
answer < 430["a","é\"\\ 𝄞"]
ask > 429["echo",8]
answer < 439[8]
ask > 4210["echo",9]
answer < 4310[9]
ask > 4211["echo",10]
answer < 4311[10]
more > 451-12["echo",{"_placeholder":true,"num":0}]
ask > #78797a
more < 461-12[{"_placeholder":true,"num":0}]
answer < #78797a
more > 452-["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]
more > #31
tell > #32
more > 451-["bin0",{"_placeholder":true,"num":0}]
tell > #
tell > 42["who"]
asks < 420["ask",{"q":1}]
more < 451-1["askbin",{"_placeholder":true,"num":0}]
asks < #7171
reply > 430["re",{"q":1}]
more > 461-1[{"_placeholder":true,"num":0}]
reply > #6161
tell > 42["vol"]
tell > 42["obj",{"a":[1,{"b":null}]}]
tell > 42["undef",null]
keep > 40/admin,{"token":"good"}
let-in < 40/admin,{"sid":"hL7l-Wdgdq70t22VAAAB"}
push < 42/admin,["hello",1]
more < 452-/admin,["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]
more < #010203
push < #00000000
tell > 42/admin,["x"]
ask > 42/admin,0["echo",5]
answer < 43/admin,0[5]
tell > 42/admin,["who"]
asks < 42/admin,0["ask",{"q":1}]
more < 451-/admin,1["askbin",{"_placeholder":true,"num":0}]
asks < #7171
reply > 43/admin,0[]
more > 461-/admin,1[{"z":{"_placeholder":true,"num":0}}]
reply > #75
more > 451-/admin,["bin",{"_placeholder":true,"num":0}]
tell > #31
more > 451-/admin,1["echo",{"_placeholder":true,"num":0}]
ask > #39
more < 461-/admin,1[{"_placeholder":true,"num":0}]
answer < #39
keep > 40/room-12,
let-in < 40/room-12,{"sid":"NofWhpntIlW_PxSIAAAD"}
push < 42/room-12,["hello",1]
more < 452-/room-12,["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]
more < #010203
push < #00000000
tell > 42/room-12,["y",1]
ask > 42/room-12,0["echo",1]
answer < 43/room-12,0[1]
retire > 41/room-12,
keep > 40/nope,
refusal < 44/nope,{"message":"Invalid namespace"}
beat < 2
beat > 3
tell > 42/admin,["bye"]
end < 41/admin,
tell > 42["byeall"]
end < 41
new
greeting < 0{"sid":"uAFqb8W48hljn-KSAAAC","upgrades":[],"pingInterval":700,"pingTimeout":500,"maxPayload":1000000}
keep > 40{"t":"x"}
let-in < 40{"sid":"wgui0Y08cCAsTH0sAAAE"}
push < 42["hello",1]
more < 452-["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]
more < #010203
push < #00000000
retire > 41
new
greeting < 0{"sid":"N1QQldxFuA6DLNFuAAAB","upgrades":[],"pingInterval":700,"pingTimeout":500,"maxPayload":1000000}
keep > 40/admin,{"token":"bad"}
refusal < 44/admin,{"message":"not \"you\"","data":{"code":7}}
"##;

/// A server that stores the state of who leaves, and a client that comes back twice.
const STORED_STATE: &str = r##"
new
greeting < 0{"sid":"ZcxA86va9QUj_KgtAAAA","upgrades":[],"pingInterval":700,"pingTimeout":500,"maxPayload":1000000}
keep > 40{"t":"x"}
let-in < 40{"sid":"NIPltspRzsJGqLfwAAAA","pid":"U8gxG2hKObGq7-H_AAAB"}
push < 42["hello",1,"Q8lbW96"]
more < 452-["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}},"Q8lbW96.0"]
more < #010203
push < #00000000
keep > 40/admin,{"token":"good"}
let-in < 40/admin,{"sid":"Ib_BGmAsuLgzqi5pAAAC","pid":"Aw9yW5hznkTQUrjJAAAD"}
push < 42/admin,["hello",1,"Q8lbWBC"]
more < 452-/admin,["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}},"Q8lbWBC.0"]
more < #010203
push < #00000000
tell > 42/admin,["bye"]
end < 41/admin,
new
greeting < 0{"sid":"gruEzFK-SozmaowtAAAC","upgrades":[],"pingInterval":700,"pingTimeout":500,"maxPayload":1000000}
keep > 40{"pid":"U8gxG2hKObGq7-H_AAAB","offset":"Q8lbW96.0","t":"x"}
let-in < 40{"sid":"NIPltspRzsJGqLfwAAAA","pid":"U8gxG2hKObGq7-H_AAAB"}
push < 42["hello",1,"Q8lbWhu"]
more < 452-["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}},"Q8lbWhu.0"]
more < #010203
push < #00000000
tell > 42["after"]
tell > 42["byeall"]
end < 41
new
greeting < 0{"sid":"oUOcgCFLMT3i3CXeAAAD","upgrades":[],"pingInterval":700,"pingTimeout":500,"maxPayload":1000000}
keep > 40{"pid":"U8gxG2hKObGq7-H_AAAB","offset":"Q8lbWhu.0","t":"x"}
let-in < 40{"sid":"NIPltspRzsJGqLfwAAAA","pid":"U8gxG2hKObGq7-H_AAAB"}
push < 42["hello",1,"Q8lbWl9"]
more < 452-["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}},"Q8lbWl9.0"]
more < #010203
push < #00000000
retire > 41
"##;

/// python-socketio 5.18 at both ends. Its server sends what a connect handler emits before it lets the client in.
const PYTHON_TO_PYTHON: &str = r##"
new
greeting < 0{"sid":"_tvlKNV8d8klp6MeAAAA","upgrades":[],"pingTimeout":1000,"pingInterval":1000,"maxPayload":1000000}
keep > 40{"token":"good"}
keep > 40/admin,{"token":"good"}
push < 42["hello",1]
more < 451-["file",{"_placeholder":true,"num":0}]
push < #010203
let-in < 40{"sid":"UTMGzGy_Z3LBjEAQAAAB"}
push < 42/admin,["hello",1]
more < 451-/admin,["file",{"_placeholder":true,"num":0}]
push < #010203
let-in < 40/admin,{"sid":"qYehnos6CE26VvZLAAAC"}
tell > 42["x",1]
ask > 421["echo","\u00e9\"\\"]
answer < 431["\u00e9\"\\"]
more > 451-2["echo",{"_placeholder":true,"num":0}]
ask > #78797a
more < 461-2[{"_placeholder":true,"num":0}]
answer < #78797a
ask > 42/admin,1["echo",4]
answer < 43/admin,1[4]
more > 451-/admin,2["echo",{"_placeholder":true,"num":0}]
ask > #6b
more < 461-/admin,2[{"_placeholder":true,"num":0}]
answer < #6b
more > 452-["bin",{"a":{"_placeholder":true,"num":0},"b":{"_placeholder":true,"num":1}}]
more > #31
tell > #32
tell > 42["who"]
tell > 42/admin,["who"]
asks < 421["ask",{"q":1}]
more < 451-2["askbin",{"_placeholder":true,"num":0}]
asks < #7171
asks < 42/admin,1["ask",{"q":1}]
more < 451-/admin,2["askbin",{"_placeholder":true,"num":0}]
reply > 431["re",{"q":1}]
asks < #7171
more > 461-2[{"_placeholder":true,"num":0}]
reply > #6161
reply > 43/admin,1[]
reply > 43/admin,2[]
beat < 2
beat > 3
tell > 42/admin,["bye"]
end < 41/admin,
new
greeting < 0{"sid":"ORy1zHhCjoSDuf4FAAAD","upgrades":[],"pingTimeout":1000,"pingInterval":1000,"maxPayload":1000000}
keep > 40{"token":"bad"}
keep > 40/admin,{"token":"bad"}
push < 42["hello",1]
more < 451-["file",{"_placeholder":true,"num":0}]
push < #010203
let-in < 40{"sid":"Sa5DAxDwi4-OzX6vAAAE"}
refusal < 44/admin,{"message":"not you","data":{"c":1}}
new
greeting < 0{"sid":"HX32bOKyUqh0dv81AAAG","upgrades":[],"pingTimeout":1000,"pingInterval":1000,"maxPayload":1000000}
keep > 40{"token":"good"}
push < 42["hello",1]
more < 451-["file",{"_placeholder":true,"num":0}]
push < #010203
let-in < 40{"sid":"4lzllaxHtHTdg0vNAAAH"}
tell > 42["bye"]
end < 41
"##;

/// python-socketio's client and socket.io.
const PYTHON_TO_JS: &str = r##"
new
greeting < 0{"sid":"WdjC3xFbpjfqp4dJAAAC","upgrades":[],"pingInterval":700,"pingTimeout":500,"maxPayload":1000000}
keep > 40{"token":"good"}
keep > 40/admin,{"token":"good"}
let-in < 40{"sid":"jtI_O__lQlcs63I-AAAD"}
push < 42["hello",1]
more < 452-["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]
more < #010203
push < #00000000
let-in < 40/admin,{"sid":"ockUPtFXdMDKuKVGAAAE"}
push < 42/admin,["hello",1]
more < 452-/admin,["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]
more < #010203
push < #00000000
tell > 42["x",1]
ask > 421["echo","\u00e9\"\\"]
answer < 431["é\"\\"]
more > 451-2["echo",{"_placeholder":true,"num":0}]
ask > #78797a
more < 461-2[{"_placeholder":true,"num":0}]
answer < #78797a
ask > 42/admin,1["echo",4]
answer < 43/admin,1[4]
more > 451-/admin,2["echo",{"_placeholder":true,"num":0}]
ask > #6b
more < 461-/admin,2[{"_placeholder":true,"num":0}]
answer < #6b
more > 452-["bin",{"a":{"_placeholder":true,"num":0},"b":{"_placeholder":true,"num":1}}]
more > #31
tell > #32
tell > 42["who"]
tell > 42/admin,["who"]
asks < 422["ask",{"q":1}]
more < 451-3["askbin",{"_placeholder":true,"num":0}]
asks < #7171
asks < 42/admin,2["ask",{"q":1}]
more < 451-/admin,3["askbin",{"_placeholder":true,"num":0}]
asks < #7171
reply > 432["re",{"q":1}]
more > 461-3[{"_placeholder":true,"num":0}]
reply > #6161
reply > 43/admin,2[]
reply > 43/admin,3[]
beat < 2
beat > 3
tell > 42/admin,["bye"]
end < 41/admin,
new
greeting < 0{"sid":"W1tAFV2DnnyujXNQAAAD","upgrades":[],"pingInterval":700,"pingTimeout":500,"maxPayload":1000000}
keep > 40{"token":"bad"}
keep > 40/admin,{"token":"bad"}
let-in < 40{"sid":"lnz5zCjHQFRIlgM-AAAF"}
push < 42["hello",1]
more < 452-["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]
more < #010203
push < #00000000
refusal < 44/admin,{"message":"not \"you\"","data":{"code":7}}
retire > 41
"##;

/// socket.io-client and python-socketio's server.
const JS_TO_PYTHON: &str = r##"
new
greeting < 0{"sid":"gHrMDTa2LSLYeYcIAAAA","upgrades":[],"pingTimeout":1000,"pingInterval":1000,"maxPayload":1000000}
keep > 40{"t":"x"}
push < 42["hello",1]
more < 451-["file",{"_placeholder":true,"num":0}]
push < #010203
let-in < 40{"sid":"d730PjOqAwOvdK2wAAAB"}
keep > 40/room,
push < 42/room,["hello",1]
more < 451-/room,["file",{"_placeholder":true,"num":0}]
push < #010203
let-in < 40/room,{"sid":"wSljLu9lKiBUnF9lAAAC"}
ask > 42/room,0["echo",1]
answer < 43/room,0[1]
retire > 41/room,
keep > 40/admin,{"token":"bad"}
refusal < 44/admin,{"message":"not you","data":{"c":1}}
keep > 40/unknown,
let-in < 40/unknown,{"sid":"99PPI7ffi3pklNOvAAAE"}
tell > 42["bye"]
end < 41
"##;

/// A client with `forceBase64`: attachments are text in both directions.
const BASE64: &str = r##"
new
greeting < 0{"sid":"xm1QDw3AvNrHK9q2AAAA","upgrades":[],"pingInterval":700,"pingTimeout":500,"maxPayload":1000000}
keep > 40
let-in < 40{"sid":"TC0snl8j1GEsKcG3AAAA"}
push < 42["hello",1]
more < 452-["file",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]
more < bAQID
push < bAAAAAA==
more > 451-0["echo",{"_placeholder":true,"num":0}]
ask > beHl6
more < 461-0[{"_placeholder":true,"num":0}]
answer < beHl6
retire > 41
"##;

/// All of them, by name.
pub(super) const ALL: &[(&str, &str)] = &[
    ("JS_TO_JS", JS_TO_JS),
    ("STORED_STATE", STORED_STATE),
    ("PYTHON_TO_PYTHON", PYTHON_TO_PYTHON),
    ("PYTHON_TO_JS", PYTHON_TO_JS),
    ("JS_TO_PYTHON", JS_TO_PYTHON),
    ("BASE64", BASE64),
];
