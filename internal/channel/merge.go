package channel

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Merge returns a JSON text with a patch merged into it (RFC 7396): members of an object
// are merged one by one, null takes a member away, and anything else replaces what was
// there. Numbers stay as they were written.
func Merge(doc, patch []byte) ([]byte, error) {
	var into, from any
	if err := decode(doc, &into); err != nil {
		return nil, err
	}
	if err := decode(patch, &from); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(merge(into, from)); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode reads exactly one JSON value.
func decode(text []byte, v *any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

func merge(into, patch any) any {
	members, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	object, ok := into.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for name, value := range members {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = merge(object[name], value)
		}
	}
	return object
}
