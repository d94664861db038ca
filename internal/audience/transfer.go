package audience

import "tidings/internal/apierr"

// Exported is all that is stored about a user and can be stored again.
type Exported struct {
	Account string
	Kind    Kind
	Created uint32 // Unix second
	Values  Values
	Tags    []string // in order
	Nick    string   // empty: none
	FaceURL string   // empty: none
}

// Merged are the attributes with those that more names besides: in slots that
// have no name yet. A name that another slot has already is fine, since values
// are given by name; a slot with another name, or a name for another account
// type, is 90033.
func (a Attributes) Merged(more *Attributes) (Attributes, *apierr.Error) {
	for slot, add := range more {
		if add.Name == "" {
			continue
		}
		has := a.Index(add.Name)
		switch {
		case has >= 0 && a[has].Kind != add.Kind:
			return a, apierr.InvalidAttribute.Errorf("attribute %q is for account type %d, which cannot be changed to %d", add.Name, a[has].Kind, add.Kind)
		case has >= 0:
		case a[slot].Name != "":
			return a, apierr.InvalidAttribute.Errorf("slot %d is named %q and not %q", slot, a[slot].Name, add.Name)
		default:
			a[slot] = add
		}
	}
	return a, nil
}
