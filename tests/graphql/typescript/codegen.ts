import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: "schema.graphql",
  documents: "src/queries.ts",
  generates: {
    "src/gql/": {
      preset: "client",
      presetConfig: {
        fragmentMasking: false,
        persistedDocuments: true, // writes src/gql/persisted-documents.json: the list of these operations
      },
      config: {
        strictScalars: true, // a scalar that has no type here is an error
        scalars: { Date: "string", DateTime: "string", JSON: "unknown" },
        useTypeImports: true,
        importExtension: ".js",
      },
    },
  },
};

export default config;
