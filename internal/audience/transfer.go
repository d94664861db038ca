package audience

import "tidings/internal/apierr"

// Exported is everything that is stored of a user, as an export holds it.
type Exported struct {
	Account string
	Kind    Kind
	Created uint32 // Unix second
	Values  Values
	Tags    []string // in order
	Nick    string   // empty: none
	FaceURL string   // empty: none
}

// Merged returns the attributes with those of more added in slots that are free. A name
// that another slot has is not added again: values are given by name. A slot with another
// name, and a name with another account type, are 90033.
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
