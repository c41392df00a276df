// Package generate makes Go code of .proto files.
package generate

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/pluginpb"
)

// All compiles every .proto file below folder and gives the generated Go files by their paths relative to it.
func All(ctx context.Context, folder string) (map[string][]byte, error) {
	sources, err := find(folder)
	if err != nil {
		return nil, err
	}
	request, err := compile(ctx, folder, sources)
	if err != nil {
		return nil, err
	}
	plugin, err := protogen.Options{}.New(request)
	if err != nil {
		return nil, err
	}
	for _, f := range plugin.Files {
		if f.Generate {
			internal_gengo.GenerateFile(plugin, f)
		}
	}
	response := plugin.Response()
	if response.Error != nil {
		return nil, fmt.Errorf("%s", response.GetError())
	}
	files := make(map[string][]byte, len(response.GetFile()))
	for _, f := range response.GetFile() {
		files[f.GetName()] = []byte(f.GetContent())
	}
	return files, nil
}

func find(folder string) (sources []string, err error) {
	err = fs.WalkDir(os.DirFS(folder), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil && path.Ext(name) == ".proto" {
			sources = append(sources, name)
		}
		return err
	})
	if err == nil && len(sources) == 0 {
		err = fmt.Errorf("there is no .proto file below %s", folder)
	}
	return sources, err
}

// compile makes what protoc would hand to its plugin. No file imports another one yet; when one does, its imports have to
// come before it here.
func compile(ctx context.Context, folder string, sources []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{folder}},
		SourceInfoMode: protocompile.SourceInfoStandard, // comments
	}
	compiled, err := compiler.Compile(ctx, sources...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: sources,
		Parameter:      new("paths=source_relative"),
	}
	for _, f := range compiled {
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
	}
	return request, nil
}
