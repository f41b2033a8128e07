# The router alone: no GPU packages, no compiler, nobody's root. Workers dial in from outside.
#
#   docker build -t auxot-router .
#   docker run --rm auxot-router setup                     # makes the keys, prints the settings
#   docker run -p 8080:8080 -v auxot:/data --env-file FILE auxot-router
#
# The tools worker is in the same image (docs/tools.md); its folder holds ./tools and mcp.json:
#   docker run --entrypoint node -v FOLDER:/data --env-file FILE auxot-router /app/dist/bin/tools.js
#
# --env-file takes values as they are: leave out the single quotes that .env wants around the hashes.

FROM node:20-bookworm AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --include=dev
COPY . .
RUN npm run build
# Leaves what the router needs: this removes the development packages, and llama.cpp with all that only it uses.
RUN npm uninstall node-llama-cpp --omit=dev

FROM node:20-bookworm-slim
ENV NODE_ENV=production AUXOT_DATA_DIR=/data
# The slim image has no certificates, and rediss:// to a publicly signed server needs them.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /app/package.json /app/LICENSE /app/
COPY --from=build /app/node_modules /app/node_modules
COPY --from=build /app/dist /app/dist
RUN mkdir /data && chown node:node /data
USER node
# The working directory is the volume, so that a .env in it is read, and "setup --write-env" writes it there.
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.AUXOT_PORT || 8080}/health`, { signal: AbortSignal.timeout(4000) }).then(answer => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/bin/router.js"]
