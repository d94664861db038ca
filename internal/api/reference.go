package api

import (
	_ "embed"
	"encoding/json"
)

// reference.json holds the words of the rows: the comments of this package on the
// functions and on the fields of requests and answers. TestReference keeps it fresh
// (make generate).
//
//go:embed reference.json
var referenceJSON []byte

// A reference holds the comments of the source.
type reference struct {
	Commands map[string]string            `json:"commands"` // by name of the command
	Fields   map[string]map[string]string `json:"fields"`   // by type, by field
}

var docs = func() (r reference) {
	if err := json.Unmarshal(referenceJSON, &r); err != nil {
		panic(err) // TestReference writes it
	}
	return r
}()
