package simulate

import (
	"bytes"
	"strconv"
	"time"
)

// A Fate is what becomes of a message, or of a request that is none.
type Fate uint8

// The fates. Those from Gone on can be asked for: for a token by how it begins, for a
// share of the messages, or for all (Behaviour).
const (
	Accepted  Fate = iota + 1
	Validated      // with validate_only: good, and not delivered
	Invalid        // refused by the checks

	Gone            // 404 UNREGISTERED
	Malformed       // 400 INVALID_ARGUMENT with nothing but FcmError: no token
	BadToken        // 400 INVALID_ARGUMENT with a violation of message.token
	Sender          // 403 SENDER_ID_MISMATCH
	ThirdParty      // 401 THIRD_PARTY_AUTH_ERROR
	Unauthenticated // 401 without FcmError
	Forbidden       // 403 without FcmError
	NoProject       // 404 without FcmError
	Throttle        // 429, the quota of the project
	Device          // 429, the quota of a device
	Collapsible     // 429, the quota of collapsible messages of a device
	Internal        // 500 INTERNAL
	Unavailable     // 503 UNAVAILABLE
	Unspecified     // 400 UNSPECIFIED_ERROR
	Gateway         // 502 with a page of HTML, as from a front end
	Slow            // accepted, so many milliseconds later
	Hang            // no answer until the client gives up
	Reset           // the request is read and its stream reset; nothing is accepted
	Lost            // accepted, and its stream reset instead of an answer
	fates
)

var fateNames = [fates]string{
	Accepted: "accepted", Validated: "validated", Invalid: "invalid",
	Gone: "gone", Malformed: "malformed", BadToken: "badtoken", Sender: "sender", ThirdParty: "thirdparty",
	Unauthenticated: "unauthenticated", Forbidden: "forbidden", NoProject: "noproject",
	Throttle: "throttle", Device: "device", Collapsible: "collapsible",
	Internal: "internal", Unavailable: "unavailable", Unspecified: "unspecified", Gateway: "gateway",
	Slow: "slow", Hang: "hang", Reset: "reset", Lost: "lost",
}

var fatesByName = func() map[string]Fate {
	m := map[string]Fate{}
	for f := Gone; f < fates; f++ {
		m[fateNames[f]] = f
	}
	return m
}()

// String returns the word for a fate.
func (f Fate) String() string { return fateNames[f] }

// A script is what a token says by its beginning: "gone-", always; "throttle3-", the
// first three times; "slow250-", 250 milliseconds each time.
type script struct {
	fate  Fate
	times uint32        // 0: always
	delay time.Duration // of Slow
}

// maxScript bounds the beginning of a token that is looked at.
const maxScript = 32

// scriptOf returns the script of a token; the zero one if it has none.
func scriptOf(token []byte) script {
	start, _, ok := bytes.Cut(token[:min(len(token), maxScript)], []byte("-"))
	if !ok {
		return script{}
	}
	name := bytes.TrimRight(start, "0123456789")
	digits := string(start[len(name):])
	f, ok := fatesByName[string(name)]
	if !ok || len(digits) > 6 {
		return script{}
	}
	n, _ := strconv.Atoi(digits) // of none: 0
	if f == Slow {
		return script{fate: f, delay: time.Duration(n) * time.Millisecond}
	}
	if digits != "" && n == 0 {
		return script{}
	}
	return script{fate: f, times: uint32(n)}
}
