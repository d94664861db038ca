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
