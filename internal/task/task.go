// Package task holds push tasks: what is to be sent to whom, how far that is, and in
// which state. It does no I/O; a [Store] keeps tasks, and package dispatch carries them
// out.
package task

import (
	"time"

	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/report"
)

// A State is how far a task is:
//
//	accepted → resolving → sending → done | stopped | expired | failed
//
// A task that is sending may be paused, which is beside the state. It counts as blocked
// when all lanes that have something left are blocked; that is known to the dispatcher
// and not kept.
type State string

// The states.
const (
	Accepted  State = "accepted"  // on disk; its audience is not fixed yet
	Resolving State = "resolving" // its audience is being fixed
	Sending   State = "sending"
	Done      State = "done"
	Stopped   State = "stopped" // by somebody
	Expired   State = "expired" // its life ended first
	Failed    State = "failed"  // it could not begin; Reason says why
)

// Ended reports whether nothing more will happen in a state.
func (s State) Ended() bool { return s == Done || s == Stopped || s == Expired || s == Failed }

// A Ref names a task within the server.
type Ref struct {
	App    uint32
	Number uint64 // in the app, ascending, never reused
}

// A Task is a push that was accepted.
type Task struct {
	Ref
	ID      string // TaskId on the wire
	Command string // by which it came: push, batch, im_push
	Caller  string // who called
	From    string // From_Account
	DataID  string

	Audience Audience
	Message  channel.Message
	Accepted time.Time
	Ends     time.Time // of its life

	State    State
	Paused   bool
	Reason   string    // of a state, in words; empty if there is nothing to say
	Begun    time.Time // first page; zero: not yet
	Ended    time.Time
	Frozen   uint64 // accounts in the audience, once that is fixed
	Progress Progress
}

// An Audience says who is to get a push.
type Audience struct {
	// Where is the expression, in its canonical form; empty: everyone, of both account
	// types, unless there are Accounts. Attributes are the names by which it was read.
	Where      string
	Kind       audience.Kind // if Where names no attribute and no tag
	Attributes *audience.Attributes
	// Accounts are the receivers of a batch, or how many they were once the task is
	// stored.
	Accounts []string
	Named    int
}

// Progress is how far a task is.
type Progress struct {
	Lanes []LaneProgress // by certificate; that with certificate 0 is of what cannot be sent
	// Retries are devices that wait for their next try.
	Retries int
}

// LaneProgress is the progress of a lane.
type LaneProgress struct {
	Certificate int
	Provider    channel.Provider
	Counts      report.Counts
}

// Counts returns the counts of all lanes together.
func (p *Progress) Counts() (c report.Counts) {
	for i := range p.Lanes {
		for o, n := range p.Lanes[i].Counts {
			c[o] += n
		}
	}
	return c
}
