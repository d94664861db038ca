// Package report is what becomes of deliveries: the outcomes and what they count as, and
// the compact blocks in which a task keeps them. It does no I/O.
package report

// An Outcome is what became of one unit of a task: of one device, or of a receiver that
// has none. Each unit ends in exactly one (push.md, 2).
type Outcome uint8

// The outcomes. The numbers are stored.
const (
	Accepted      Outcome = 1  // the provider took it
	Gone          Outcome = 2  // the provider says that the token is dead
	Rejected      Outcome = 3  // the provider will never take this message
	Unknown       Outcome = 4  // the connection broke after the request was written
	Expired       Outcome = 5  // not taken before the end of the message
	NoCertificate Outcome = 6  // never left
	NoToken       Outcome = 7  // never left
	PermissionOff Outcome = 8  // never left
	NoDevice      Outcome = 9  // a receiver without any
	Stopped       Outcome = 10 // recalled or stopped before it was its turn

	Outcomes = 11 // one more than the largest
)

// A Meaning is what an outcome is called and counts as, in API, command line, console and
// documents alike.
type Meaning struct {
	Word     string // "accepted"
	Sentence string // what it means, for people
	Total    bool   // counts in TotalCount
	Sent     bool   // counts in SentCount
	Loss     int    // ErrCode of ReadyToSendLoss; 0: none, or the vendor's status in PostSendDeliveredLoss
}

// Meanings has the meaning of each outcome. *Accepted* is never called delivered.
var Meanings = [Outcomes]Meaning{
	Accepted:      {"accepted", "the provider took it", true, true, 0},
	Gone:          {"gone", "the provider says that the token is dead", true, true, 0},
	Rejected:      {"rejected", "the provider will never take this message", true, true, 0},
	Unknown:       {"unknown", "the connection broke after the request was written: it may have arrived", true, true, 0},
	Expired:       {"expired", "no provider took it before the message's end", true, false, -5},
	NoCertificate: {"no certificate", "the app has no certificate for the device", true, false, -1},
	NoToken:       {"no token", "the device has no token", true, false, -2},
	PermissionOff: {"permission off", "the person does not permit notifications", true, false, -3},
	NoDevice:      {"no device", "the receiver has no device", false, false, -4},
	Stopped:       {"stopped", "the task was stopped before it was its turn", true, false, -6},
}

// String returns the word for an outcome.
func (o Outcome) String() string { return Meanings[o].Word }

// Counts are units by outcome.
type Counts [Outcomes]uint64

// Sum returns the number of units.
func (c *Counts) Sum() (n uint64) {
	for _, units := range c {
		n += units
	}
	return n
}

// Total returns how many devices could be sent to, and how many of them were handed to a
// provider (spec/timpush-api.md, 10).
func (c *Counts) Total() (total, sent uint64) {
	for o, units := range c {
		if Meanings[o].Total {
			total += units
		}
		if Meanings[o].Sent {
			sent += units
		}
	}
	return total, sent
}
