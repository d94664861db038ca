// Package store says what the storage backends below it report alike; lsm is
// one, and storetest is the suite that every backend passes.
package store

// A Finding is one thing that is wrong in stored data.
type Finding struct {
	Where string `json:"where"` // which record
	What  string `json:"what"`
}

// Summary is what a check looked at.
type Summary struct {
	Apps  int `json:"apps"`
	Users int `json:"users"`
	Other int `json:"other"` // records of other tables
}

// A Checkpoint describes a file that a start reads instead of the log before it.
type Checkpoint struct {
	Position uint64  `json:"position"` // of the log
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"` // that it took; 0 if nothing had changed since the last
}
