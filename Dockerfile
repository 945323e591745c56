# kseg on the CPU. Not built yet: kseg is developed without Docker.
#
#     docker build --tag kseg .
#     docker run --rm --volume "$PWD:/data" --workdir /data kseg train --dataset pictures
FROM python:3.11-slim
COPY . /kseg
RUN pip install --no-cache-dir /kseg
ENTRYPOINT ["kseg"]
