package cli

import (
	"github.com/spf13/cobra"

	"tidings/internal/api"
)

func (e *env) openAPICommand() *cobra.Command {
	return &cobra.Command{
		Use:   "openapi",
		Short: "Print the description of the API as an OpenAPI 3.1 document",
		Long: `Print the description of the API as an OpenAPI 3.1 document: paths, fields, limits,
answers and codes. It is that of this version and needs no server; a server sends its own
to everyone who asks for /openapi.json.`,
		Example: `  tidings openapi > openapi.json`,
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			_, err := e.stdout.Write(api.OpenAPI(currentVersion().Version))
			return err
		},
	}
}
