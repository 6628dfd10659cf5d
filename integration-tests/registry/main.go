// A schema registry in memory, for the tests: prints its address, and ends when its stdin does. With an argument, that is what the header
// Authorization must say.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/sr/srfake"
)

func main() {
	var options []srfake.Option
	for _, authorization := range os.Args[1:] {
		options = append(options, srfake.WithAuth(authorization))
	}
	registry := srfake.New(options...)
	defer registry.Close()
	fmt.Println(registry.URL())
	io.Copy(io.Discard, os.Stdin)
}
